"""A process that dies at any instant publishes nothing half-done, and the next one clears up after it."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.config import PipelineConfig
from pipeline.run import run
from pipeline.verify import find_jobs, verify_job
from tests.audio_files import music, write_wav

ROOT = Path(__file__).parents[2]
JOB = """
import sys, pathlib
from pipeline.config import PipelineConfig
from pipeline.run import run
run(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), PipelineConfig(model="hpss", estimators=()))
"""


def start(source: Path, out: Path, *prefix: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", JOB, str(source), str(out)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )


def assert_sound(out: Path) -> None:
    """Every visible job is complete and intact; nothing else is visible."""
    jobs = find_jobs(out)
    for job in jobs:
        assert verify_job(job) == []
        assert sorted(p.name for p in job.iterdir()) == ["manifest.json", "stems"]
        json.loads((job / "manifest.json").read_text())
    visible = [p for p in out.iterdir() if not p.name.startswith(".")] if out.exists() else []
    assert sorted(visible) == jobs


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_a_kill_at_a_random_instant_leaves_no_half_result(seed: int, tmp_path: Path) -> None:
    source = write_wav(tmp_path / "song.wav", music(20.0))
    out = tmp_path / "out"
    process = start(source, out)
    deadline = time.monotonic() + 60
    while not list(out.glob(".*.partial")) and process.poll() is None:
        assert time.monotonic() < deadline
    time.sleep(random.Random(seed).uniform(0, 3))  # The instant of the kill, not a wait for anything.
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert_sound(out)
    run(source, out, PipelineConfig(model="hpss", estimators=()))
    assert_sound(out)
    assert not list(out.glob(".*"))
    assert find_jobs(out)


@pytest.mark.parametrize("call", ["rename", "fsync"])
@pytest.mark.parametrize("when", [1, pytest.param(2, marks=pytest.mark.slow), 4])
def test_a_kill_at_each_step_of_publishing_leaves_all_or_nothing(
    call: str, when: int, tmp_path: Path
) -> None:
    source = write_wav(tmp_path / "song.wav", music(1.0))
    out = tmp_path / "out"
    inject = f"inject={call}:signal=SIGKILL:when={when}"
    process = start(
        source, out, "strace", "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", f"trace={call}", "-e", inject
    )
    process.wait()
    assert_sound(out)
    run(source, out, PipelineConfig(model="hpss", estimators=()))
    assert_sound(out)
    assert not list(out.glob(".*"))


FULL_DISK_JOB = """
import os, sys, pathlib
from pipeline.config import PipelineConfig
from pipeline.errors import DiskFull
from pipeline.run import run
source, small, name = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
try:
    run(source, small / "out", PipelineConfig(model="hpss", estimators=(), formats=(name,)))
except DiskFull as exc:
    print(exc)
print("left:", os.listdir(small))
"""


@pytest.fixture(scope="module")
def in_a_namespace() -> list[str]:
    """A command prefix under which a file system of its own may be mounted, as root or not."""
    for prefix in (["unshare", "-m"], ["unshare", "-rm"]):
        probe = [*prefix, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            return prefix
    pytest.skip("this machine lets nobody mount a small file system")


@pytest.mark.parametrize(
    ("seconds", "size", "name"),
    [
        (20, "9m", "flac"),  # full while decoding or separating
        # The scratch files of 4 s take 6,900 KiB (mix and four stems): room for them and little more.
        (4, "6940k", "flac"),
        (4, "6940k", "mp3"),
    ],
)
def test_a_full_disk_is_said_and_nothing_stays(
    seconds: int, size: str, name: str, tmp_path: Path, in_a_namespace: list[str]
) -> None:
    source = write_wav(tmp_path / "song.wav", music(seconds))
    small = tmp_path / "small"
    small.mkdir()
    script = 'mount -t tmpfs -o size="$0" tmpfs "$1" && shift && exec "$@"'
    job = [sys.executable, "-c", FULL_DISK_JOB, str(source), str(small), name]
    said = subprocess.run(
        [*in_a_namespace, "sh", "-c", script, size, str(small), *job],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "disk is full" in said.stdout
    assert "left: []" in said.stdout
