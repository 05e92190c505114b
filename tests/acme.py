"""A certificate authority that speaks ACME: Pebble, which Let's Encrypt tests with, on this machine alone."""

from __future__ import annotations

import json
import ssl
import subprocess
import time
from pathlib import Path
from types import TracebackType

import httpx2 as httpx
import trustme

from tests.service import free_port

_START_S = 60


class Authority:
    """An authority that asks for challenges at a port of this machine, whatever the name. A context manager.

    Args:
        folder: where it keeps everything.
        http_port: where it expects challenges to be answered.

    Attributes:
        directory: for ``ACME_SERVER``.
        trust: file with what a client needs to trust its own TLS.
    """

    def __init__(self, folder: Path, http_port: int) -> None:
        own = trustme.CA()
        certificate = own.issue_cert("localhost")
        self.trust = folder / "trust.pem"
        own.cert_pem.write_to_path(self.trust)
        certificate.private_key_pem.write_to_path(folder / "own-key.pem")
        certificate.cert_chain_pems[0].write_to_path(folder / "own.pem")
        port, self._dns_port = free_port(), free_port()
        self.directory = f"https://localhost:{port}/dir"
        self._said = folder / "acme.log"
        self._configuration = folder / "pebble.json"
        self._configuration.write_text(
            json.dumps(
                {
                    "pebble": {
                        "listenAddress": f"127.0.0.1:{port}",
                        "certificate": str(folder / "own.pem"),
                        "privateKey": str(folder / "own-key.pem"),
                        "httpPort": http_port,
                        "tlsPort": free_port(),
                    }
                }
            )
        )
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Authority:
        names = [
            *("pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""),
            *("-dns01", f"127.0.0.1:{self._dns_port}", "-http01", "", "-https01", "", "-tlsalpn01", ""),
            *("-management", f"127.0.0.1:{free_port()}"),
        ]
        issuing = ["pebble", "-config", str(self._configuration), "-dnsserver", f"127.0.0.1:{self._dns_port}"]
        with self._said.open("ab") as said:
            for command in (names, issuing):
                # It waits between challenges, as if there were many, unless told not to.
                environment = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
                self._processes.append(
                    subprocess.Popen(command, env=environment | _PATH, stdout=said, stderr=said)
                )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            assert time.monotonic() < deadline, self._said.read_text()
            time.sleep(0.05)
        return self

    def _answers(self) -> bool:
        try:
            trust = ssl.create_default_context(cafile=str(self.trust))
            return httpx.get(self.directory, verify=trust, timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


_PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
