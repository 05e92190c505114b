"""A real Redis for tests."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path
from types import TracebackType

import trustme

from tests.service import free_port

_START_S = 60


class Redis:
    """A Redis server of its own. A context manager.

    Args:
        folder: of its log, and of what it keeps.
        keeps: whether what it holds survives its death; otherwise it starts empty.
        authority: of its certificate, where it speaks TLS and nothing else.

    Attributes:
        port: where it listens.
        url: for ``PIPELINE_RATE_STORAGE`` and ``PIPELINE_BROKER_URL``.
    """

    def __init__(self, folder: Path, *, keeps: bool = False, authority: trustme.CA | None = None) -> None:
        self._folder, self.port, self._keeps, self._authority = folder, free_port(), keeps, authority
        self.url = f"redis://127.0.0.1:{self.port}"
        if authority is not None:
            authority.cert_pem.write_to_path(str(folder / "ca.pem"))
            own = authority.issue_cert("127.0.0.1")
            own.private_key_pem.write_to_path(str(folder / "key.pem"))
            own.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
            self.url = f"rediss://127.0.0.1:{self.port}/0?ssl_ca_certs={folder / 'ca.pem'}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        arguments = [
            *self._listening(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "yes" if self._keeps else "no",
            "--dir",
            str(self._folder),
        ]
        with (self._folder / "redis.log").open("ab") as said:
            self._process = subprocess.Popen(["redis-server", *arguments], stdout=said, stderr=said)
        deadline = time.monotonic() + _START_S
        while not self._answers():
            assert time.monotonic() < deadline, "Redis did not start"
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as kill -9 does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def forget(self) -> None:
        """Throw away what it keeps, as a Redis does that keeps nothing; only while it does not run."""
        shutil.rmtree(self._folder / "appendonlydir", ignore_errors=True)

    def _listening(self) -> list[str]:
        if self._authority is None:
            return ["--port", str(self.port)]
        files = {f"--tls-{name}-file": self._folder / f"{name}.pem" for name in ("cert", "key")}
        files["--tls-ca-cert-file"] = self._folder / "ca.pem"
        paths = [part for name, path in files.items() for part in (name, str(path))]
        return ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no", *paths]

    def _answers(self) -> bool:
        try:
            with self._connected() as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64) == b"+PONG\r\n"
        except OSError:
            return False

    def _connected(self) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=2)
        if self._authority is None:
            return plain
        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    def __enter__(self) -> Redis:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
