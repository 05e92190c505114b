"""Starts the real service as a process of its own, for tests that speak HTTP to it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import httpx2 as httpx

from tests.program import Program

ROOT = Path(__file__).parent.parent
KEY = "a-key-for-the-tests-only"
_START_S = 280


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Service(Program):
    """A running service with the draft model, which needs no weights. A context manager.

    Args:
        folder: where it keeps everything.
        prefix: of its command, such as one that puts it on a disk of its own.
        **settings: further environment variables.
    """

    def __init__(self, folder: Path, prefix: Sequence[str] = (), **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "API_KEY": KEY,
            "API_PORT": str(self.port),
            "DATA_DIR": str(folder),
            "PIPELINE_MODEL": "hpss",
            "PIPELINE_RATE_PROCESS": "off",
            "PIPELINE_LEASE_S": "3",
            "PIPELINE_DISK_RESERVE_MB": "1",
            "PIPELINE_MEMORY_RESERVE_MB": "1",
            **settings,
        }
        super().__init__("serve", folder, environment, prefix)

    def start(self) -> Self:
        """Start it and wait until it takes work."""
        super().start()
        deadline = time.monotonic() + _START_S
        while not self._ready():
            assert self.process is not None and self.process.poll() is None, "the service ended at its start"
            assert time.monotonic() < deadline, "the service did not start"
            time.sleep(0.05)
        return self

    def client(self, key: str | None = KEY) -> httpx.Client:
        """A plain HTTP client with a key, or without one."""
        headers = {} if key is None else {"X-API-Key": key}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False


def submit(
    http: httpx.Client, path: Path, headers: dict[str, str] | None = None, **fields: str
) -> httpx.Response:
    """Submit a recording with options as form fields."""
    with path.open("rb") as file:
        return http.post("/process", files={"file": (path.name, file)}, data=fields, headers=headers)


def ended(http: httpx.Client, job_id: str, within_s: float = 300) -> dict[str, Any]:
    """Wait until a job has ended, and look at it."""
    deadline = time.monotonic() + within_s
    while (job := http.get(f"/jobs/{job_id}").json())["status"] in ("queued", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return job
