"""Waveform data is the smallest and the largest sample of each bucket."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from api.encryption.stored import Stored
from api.jobs.listening import Whole
from api.jobs.peaks import peaks
from pipeline.audio import FloatArray
from tests.audio_files import music


def blocks(samples: FloatArray, size: int) -> Iterator[FloatArray]:
    return (samples[:, at : at + size] for at in range(0, samples.shape[1], size))


@pytest.mark.parametrize("buckets", [10, 100, 999, 20_000])
@pytest.mark.parametrize("size", [100, 1 << 18])
def test_every_bucket_has_its_extremes(buckets: int, size: int, tmp_path: Path) -> None:
    samples = music(1.3, 8000)
    found = peaks(
        Whole("mix", "0" * 64, 8000, samples.shape[1], blocks(samples, size)), buckets, Stored.plain(tmp_path)
    )
    per = found["samples_per_bucket"]
    mono = samples.mean(axis=0)
    expected = [
        round(127 * float(edge))
        for bucket in (mono[at : at + per] for at in range(0, len(mono), per))
        for edge in (bucket.min(), bucket.max())
    ]
    assert found["data"] == expected


def test_a_file_that_ends_early_is_silent_from_there_on(tmp_path: Path) -> None:
    samples = np.ones((1, 100), np.float32)
    found = peaks(Whole("mix", "0" * 64, 8000, 400, blocks(samples, 30)), 8, Stored.plain(tmp_path))
    assert found["data"] == [127, 127] * 2 + [0, 0] * 6


def test_they_are_measured_once(tmp_path: Path) -> None:
    samples = music(0.5, 8000)
    first = peaks(Whole("mix", "0" * 64, 8000, 4000, blocks(samples, 1000)), 100, Stored.plain(tmp_path))
    assert peaks(Whole("mix", "0" * 64, 8000, 4000, iter([])), 100, Stored.plain(tmp_path)) == first
