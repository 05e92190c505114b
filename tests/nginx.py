"""Starts a real nginx with the configuration that is shipped, in front of a service."""

from __future__ import annotations

import shutil
import ssl
import string
import subprocess
import time
from pathlib import Path
from types import TracebackType

import httpx2 as httpx
import trustme

from tests.service import KEY, ROOT, free_port

TEMPLATE = ROOT / "nginx" / "nginx.conf.template"
_START_S = 60


class Nginx:
    """An nginx of its own. A context manager.

    Args:
        folder: where it keeps everything.
        api: host and port of the service.
        ui: host and port of the UI.
        max_body_mb: as ``MAX_BODY_MB``.

    Attributes:
        tls: what a client needs to trust it.
        http_url: its plain address.
        https_url: its address.
    """

    def __init__(self, folder: Path, *, api: str, ui: str, max_body_mb: int) -> None:
        # Debian keeps it where only root's PATH leads.
        self._program = shutil.which("nginx") or "/usr/sbin/nginx"
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost")
        key, chain = folder / "key.pem", folder / "chain.pem"
        certificate.private_key_pem.write_to_path(key)
        for part in certificate.cert_chain_pems:
            part.write_to_path(chain, append=True)
        self.tls = ssl.create_default_context()
        authority.configure_trust(self.tls)
        http_port, https_port = free_port(), free_port()
        self.http_url, self.https_url = f"http://localhost:{http_port}", f"https://localhost:{https_port}"
        (folder / "acme").mkdir()
        self.said = folder / "nginx.log"
        self._folder = folder
        self._configuration = folder / "nginx.conf"
        self._configuration.write_text(
            string.Template(TEMPLATE.read_text()).safe_substitute(
                PUBLIC_HOST=f"localhost:{https_port}",
                HTTP_PORT=f"127.0.0.1:{http_port}",
                HTTPS_PORT=f"127.0.0.1:{https_port}",
                API_UPSTREAM=api,
                UI_UPSTREAM=ui,
                TLS_CERTIFICATE=str(chain),
                TLS_KEY=str(key),
                ACME_DIR=str(folder / "acme"),
                MAX_BODY_MB=str(max_body_mb),
                NGINX_RUN_DIR=str(folder),
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    def check(self) -> str:
        """What ``nginx -t`` says."""
        said = subprocess.run([*self._command, "-t"], capture_output=True, text=True, check=False)
        return said.stderr

    def client(self, key: str | None = KEY) -> httpx.Client:
        """A client that trusts it, with a key, or without one."""
        headers = {} if key is None else {"X-API-Key": key}
        return httpx.Client(base_url=self.https_url, headers=headers, timeout=60, verify=self.tls)

    @property
    def _command(self) -> list[str]:
        return [self._program, "-p", str(self._folder), "-c", str(self._configuration), "-e", "stderr"]

    def __enter__(self) -> Nginx:
        with self.said.open("ab") as said:
            self._process = subprocess.Popen([*self._command, "-g", "daemon off;"], stdout=said, stderr=said)
        deadline = time.monotonic() + _START_S
        while not self._answers():
            assert self._process.poll() is None, self.said.read_text()
            assert time.monotonic() < deadline, "nginx did not start"
            time.sleep(0.05)
        return self

    def _answers(self) -> bool:
        try:
            return httpx.get(self.http_url, timeout=2).status_code == 308
        except httpx.HTTPError:
            return False

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
