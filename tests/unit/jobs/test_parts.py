"""Recordings are decoded into parts: exactly, once, and no further than there is room."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from api.encryption.stored import Stored
from api.jobs import parts
from api.jobs.parts import PART_S, Coded, count, fill, part_file, prune, read_index, read_part
from pipeline.audio import FloatArray
from pipeline.codec.stretch import read_stretch
from pipeline.config import Limits
from pipeline.errors import DiskFull, InputNotAudio, PipelineError
from tests.audio_files import convert, decoded, music, write_wav
from tests.service import ROOT

RATE = 8000
NEVER = threading.Event()


def part_path(folder: Path, number: int) -> Path:
    return part_file(Stored.plain(folder), number).path


def coded_of(path: Path, folder: Path, **wanted: int) -> Coded:
    return Coded(Stored.plain(path), Stored.plain(folder), "0" * 64, **wanted)


def filled(path: Path, folder: Path, **wanted: int) -> Coded:
    coded = coded_of(path, folder, **wanted)
    fill(coded, Limits(), 0, NEVER)
    return coded


def joined(folder: Path) -> FloatArray:
    return np.concatenate([read_stretch(part_path(folder, n), 0, 1 << 30) for n in range(count(folder))], 1)


@pytest.mark.parametrize("seconds", [0.5, PART_S, PART_S + 0.01, 3 * PART_S])
def test_parts_are_the_recording_cut_up(seconds: float, tmp_path: Path) -> None:
    samples = music(seconds, RATE)
    filled(write_wav(tmp_path / "a.wav", samples, RATE, "PCM_16"), tmp_path / "job" / "mix")
    folder = tmp_path / "job" / "mix"
    assert count(folder) == -(-samples.shape[1] // (PART_S * RATE))
    index = read_index(folder)
    assert index is not None
    assert (index.sample_rate, index.channels, index.samples) == (RATE, 2, samples.shape[1])
    assert np.array_equal(joined(folder), decoded(tmp_path / "a.wav", 2))


def test_surround_is_folded_down_and_what_exceeds_full_scale_is_clipped(tmp_path: Path) -> None:
    loud = write_wav(tmp_path / "a.wav", 2 * music(1.0, RATE, 6), RATE, "FLOAT")
    filled(loud, tmp_path / "parts")
    found = joined(tmp_path / "parts")
    assert found.shape == (2, RATE)
    assert found.min() == -1.0 and found.max() == 1.0 - 2.0**-15


@pytest.mark.parametrize(("suffix", "rate"), [("mp3", 44100), ("m4a", 44100), ("opus", 48000)])
def test_a_lossy_stem_lies_over_the_mix_to_the_sample(suffix: str, rate: int, tmp_path: Path) -> None:
    samples = music(6.0)
    wav = write_wav(tmp_path / "a.wav", samples)
    coded = convert(wav, tmp_path / f"a.{suffix}", "-b:a", "192k", "-ar", str(rate))
    length = 6 * rate
    filled(coded, tmp_path / "parts", length=length, sample_rate=44100, samples=samples.shape[1])
    found = joined(tmp_path / "parts")
    assert found.shape == samples.shape
    middle = slice(1 << 16, 1 << 17)
    lags = range(-3, 4)
    product = [float((np.roll(found, -lag, axis=1) * samples)[:, middle].sum()) for lag in lags]
    assert lags[int(np.argmax(product))] == 0


def test_what_was_given_up_is_gone_on_with(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", music(4 * PART_S, RATE), RATE)
    coded = filled(path, tmp_path / "whole")
    half = coded_of(path, tmp_path / "half")
    stop = threading.Event()
    written = parts._write_part

    def stopping(stored: Stored, part: FloatArray, rate: int, reserve: int) -> None:
        written(stored, part, rate, reserve)
        if stored.path.name == "1.flac":
            stop.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "_write_part", stopping)
        fill(half, Limits(), 0, stop)
    assert count(half.folder.path) == 2
    index = read_index(half.folder.path)
    assert index is not None and index.samples is None
    first = part_path(half.folder.path, 0).stat().st_mtime_ns
    fill(half, Limits(), 0, NEVER)
    assert part_path(half.folder.path, 0).stat().st_mtime_ns == first
    assert np.array_equal(joined(half.folder.path), joined(coded.folder.path))


KILLED = """
import sys, threading
from pathlib import Path
from api.encryption.stored import Stored
from api.jobs.parts import Coded, fill
from pipeline.config import Limits
source, folder = (Stored.plain(Path(name)) for name in sys.argv[1:3])
fill(Coded(source, folder, "0" * 64), Limits(), 0, threading.Event())
"""


def test_a_killed_fill_leaves_nothing_torn(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", music(120.0, RATE), RATE)
    folder = tmp_path / "parts"
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    deadline = time.monotonic() + 60
    while not part_path(folder, 2).exists():
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    child.wait()
    filled(path, folder)
    assert joined(folder).shape == (2, 120 * RATE)
    assert np.abs(joined(folder) - decoded(path, 2)).max() <= 2.0**-15


def test_a_file_is_decoded_by_one_at_a_time(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", music(1.0, RATE), RATE)
    folder = tmp_path / "parts"
    folder.mkdir()
    other = os.open(folder, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    filled(path, folder)
    assert read_index(folder) is None
    os.close(other)
    filled(path, folder)
    assert read_index(folder) is not None


def test_a_full_disk_is_told_and_what_is_there_stays(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", music(1.0, RATE), RATE)
    coded = coded_of(path, tmp_path / "parts")
    with pytest.raises(DiskFull):
        fill(coded, Limits(), 1 << 60, NEVER)
    assert count(coded.folder.path) == 0
    fill(coded, Limits(), 0, NEVER)
    assert count(coded.folder.path) == 1


def test_what_is_no_audio_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(b"no audio at all" * 100)
    with pytest.raises(InputNotAudio):
        filled(path, tmp_path / "parts")


def test_a_job_that_is_removed_meanwhile_ends_the_fill(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", music(3 * PART_S, RATE), RATE)
    folder = tmp_path / "job" / "parts"
    cut = parts._cut

    def removing(blocks: Iterator[FloatArray], size: int) -> Iterator[FloatArray]:
        for part in cut(blocks, size):
            yield part
            shutil.rmtree(tmp_path / "job", ignore_errors=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "_cut", removing)
        with pytest.raises(PipelineError):
            filled(path, folder)
    assert not folder.exists()


def test_what_was_heard_longest_ago_goes_first(tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "a.wav", music(1.0, RATE), RATE)
    root = tmp_path / "listening"
    folders = [filled(wav, root / job / "mix-0").folder.path for job in "abc"]
    for age, folder in zip((1, 2, 3), folders, strict=True):
        os.utime(folder, (age, age))
    size = sum(path.stat().st_size for path in folders[0].iterdir())
    assert read_part(Stored.plain(folders[0]), 0) is not None  # Used just now.
    assert prune(root, 2 * size) == 1
    assert [folder.exists() for folder in folders] == [True, False, True]
    assert not folders[1].parent.exists()
    with parts._locked(folders[2]):
        assert prune(root, 0) == 0
    assert prune(root, 0) == 1
    assert [folder.exists() for folder in folders] == [True, False, False]
