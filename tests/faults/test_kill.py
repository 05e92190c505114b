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
from pipeline.errors import DiskFull
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
@pytest.mark.parametrize("when", [1, 2, 4])
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


def test_a_full_disk_is_said_and_nothing_stays(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "song.wav", music(20.0))
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=9m", "tmpfs", small], check=True)
    try:
        with pytest.raises(DiskFull, match="disk is full"):
            run(source, small / "out", PipelineConfig(model="hpss", estimators=()))
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)


@pytest.mark.parametrize("name", ["flac", "mp3"])
def test_a_disk_that_fills_up_while_encoding_is_said_and_nothing_stays(name: str, tmp_path: Path) -> None:
    # The scratch files of 4 s take 6,900 KiB (mix and four stems): there is room for them and little more.
    source = write_wav(tmp_path / "song.wav", music(4.0))
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6940k", "tmpfs", small], check=True)
    try:
        with pytest.raises(DiskFull, match="disk is full"):
            run(source, small, PipelineConfig(model="hpss", estimators=(), formats=(name,)))
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)
