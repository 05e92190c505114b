"""Serves a Streamlit script as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import httpx2 as httpx

from tests.service import ROOT

_START_S = 60


class StreamlitPage:
    """A running script. A context manager.

    Args:
        script: what is served.
        said: file for what it says.
        port: that it listens on.
        **environment: of the process, besides this one's.
    """

    def __init__(self, script: Path, said: Path, port: int, **environment: str) -> None:
        self.port = port
        self.url = f"http://localhost:{port}"
        self._script, self._said = script, said
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> StreamlitPage:
        with self._said.open("ab") as said:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "streamlit", "run", str(self._script)),
                    *("--server.port", str(self.port), "--server.headless", "true"),
                    *("--browser.gatherUsageStats", "false", "--server.fileWatcherType", "none"),
                ],
                env=self._environment,
                cwd=self._said.parent,
                stdout=said,
                stderr=said,
            )
        deadline = time.monotonic() + _START_S
        while not self._ready():
            assert self.process.poll() is None, "the page ended at its start"
            assert time.monotonic() < deadline, "the page did not start"
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/_stcore/health", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False
