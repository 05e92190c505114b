"""`scripts/run.sh`: the API and the browser interface live and end together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import psutil
import pytest

from tests.service import KEY, ROOT, free_port

START_S = 120


class Running:
    """What `make run` starts, on ports and in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.api, self.ui = free_port(), free_port()
        environment = {
            **os.environ,
            "PYTHON": sys.executable,
            "API_KEY": KEY,
            "API_PORT": str(self.api),
            "API_URL": f"http://127.0.0.1:{self.api}",
            "UI_PORT": str(self.ui),
            "DATA_DIR": str(folder),
            "PIPELINE_MODEL": "hpss",
        }
        self.process = subprocess.Popen(
            ["bash", str(ROOT / "scripts/run.sh")], env=environment, stdout=subprocess.DEVNULL
        )

    def wait_until_both_answer(self) -> None:
        deadline = time.monotonic() + START_S
        for address in (f"http://127.0.0.1:{self.api}/livez", f"http://127.0.0.1:{self.ui}/_stcore/health"):
            while not _answers(address):
                assert self.process.poll() is None, "it ended at its start"
                assert time.monotonic() < deadline, f"{address} does not answer"
                time.sleep(0.1)

    def child(self, word: str) -> psutil.Process:
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if word in child.cmdline())


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    running.wait_until_both_answer()
    yield running
    if running.process.poll() is None:
        for child in psutil.Process(running.process.pid).children(recursive=True):
            child.kill()
        running.process.kill()
        running.process.wait()


def test_both_stop_in_good_order_when_asked_to(running: Running) -> None:
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(60) == 128 + signal.SIGTERM  # As the API itself ends, when it has tidied up.
    assert not _answers(f"http://127.0.0.1:{running.api}/livez")
    assert not _answers(f"http://127.0.0.1:{running.ui}/_stcore/health")


@pytest.mark.parametrize("word", ["api", "streamlit"])
def test_when_one_dies_the_other_ends_too_and_the_whole_fails(running: Running, word: str) -> None:
    running.child(word).kill()
    assert running.process.wait(60) == 128 + signal.SIGKILL
    assert not _answers(f"http://127.0.0.1:{running.api}/livez")
    assert not _answers(f"http://127.0.0.1:{running.ui}/_stcore/health")
