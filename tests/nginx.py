"""Starts a real nginx with the configuration that is shipped, in front of a service."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2 as httpx
import trustme

from tests.service import KEY, ROOT, free_port

START = ROOT / "nginx" / "start.sh"
_START_S = 60


class Nginx:
    """An nginx of its own, started as operators start it. A context manager.

    Args:
        folder: where it keeps everything.
        api: host and port of the service, or of several.
        ui: host and port of the UI.
        certified: whether it has a certificate from the start.
        name: that it serves; None: any.
        **variables: more of those that ``start.sh`` reads.

    Attributes:
        tls: what a client needs to trust it.
        http_url: its plain address.
        https_url: its address.
    """

    def __init__(
        self,
        folder: Path,
        *,
        api: str | Sequence[str],
        ui: str,
        certified: bool = True,
        name: str | None = "localhost",
        **variables: str,
    ) -> None:
        self.folder = folder
        self.said = folder / "nginx.log"
        # Where root runs it its workers are nobody's, who may not look into a test's folder.
        self.acme = Path(tempfile.mkdtemp(prefix="acme-"))
        self.acme.chmod(0o755)
        self.key, self.chain = folder / "key.pem", folder / "chain.pem"
        self.authority = trustme.CA()
        self.tls = ssl.create_default_context()
        self.authority.configure_trust(self.tls)
        if certified:
            self.certify()
        http_port, https_port = free_port(), free_port()
        self.http_url, self.https_url = f"http://localhost:{http_port}", f"https://localhost:{https_port}"
        self.environment = {
            **os.environ,
            "PUBLIC_HOST": f"{name}:{https_port}" if name else "",
            "HTTP_PORT": f"127.0.0.1:{http_port}",
            "HTTPS_PORT": f"127.0.0.1:{https_port}",
            "API_UPSTREAM": api if isinstance(api, str) else ", ".join(api),
            "UI_UPSTREAM": ui,
            "TLS_CERTIFICATE": str(self.chain),
            "TLS_KEY": str(self.key),
            "ACME_DIR": str(self.acme),
            "NGINX_RUN_DIR": str(folder / "run"),
            **variables,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def certify(self, name: str = "localhost", good_for: timedelta | None = None) -> None:
        """Put a new certificate where it looks for one."""
        ends = None if good_for is None else datetime.now(UTC) + good_for
        certificate = self.authority.issue_cert(name, not_after=ends)
        certificate.private_key_pem.write_to_path(self.key)
        self.chain.write_bytes(b"".join(part.bytes() for part in certificate.cert_chain_pems))

    def check(self) -> subprocess.CompletedProcess[str]:
        """What ``start.sh --test`` says."""
        command = ["sh", str(START), "--test"]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)

    def client(self, key: str | None = KEY, **options: Any) -> httpx.Client:
        """A client that trusts it, with a key, or without one."""
        headers = {} if key is None else {"X-API-Key": key}
        options = {
            "base_url": self.https_url,
            "headers": headers,
            "timeout": 60,
            "verify": self.tls,
        } | options
        return httpx.Client(**options)  # type: ignore[arg-type]

    def __enter__(self) -> Nginx:
        assert shutil.which("envsubst"), "there is no envsubst: scripts/setup.sh tests installs it"
        with self.said.open("ab") as said:
            self.process = subprocess.Popen(
                ["sh", str(START)], env=self.environment, stdout=said, stderr=said, start_new_session=True
            )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            assert self.process.poll() is None, self.said.read_text()
            assert time.monotonic() < deadline, "nginx did not start"
            time.sleep(0.05)
        return self

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.http_url}/.well-known/proxy", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            with contextlib.suppress(ProcessLookupError):  # What it pauses with may outlive it.
                os.killpg(self.process.pid, signal.SIGKILL)
        shutil.rmtree(self.acme, ignore_errors=True)
