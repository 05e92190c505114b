"""What a separation has made so far can be heard, beside the process that makes it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.audio import Audio, FloatArray
from pipeline.checkpoint import Checkpoint
from pipeline.layout import fold_matrix, speakers_of
from pipeline.preview import open_preview
from pipeline.progress import CancelToken
from pipeline.separators.base import Separator
from pipeline.separators.hpss import HpssSeparator
from tests.audio_files import music
from tests.networks import SAMPLE_RATE, htdemucs, loaded, separator_of


def demucs() -> Separator:
    return separator_of(loaded([htdemucs()]))


def bag() -> Separator:
    """Two networks that are independent of each other: each has a checkpoint of its own."""
    shares = [(1.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 1.0)]
    return separator_of(loaded([htdemucs(1), htdemucs(2)], shares))


def begin(separator: Separator, mix: Audio, folder: Path) -> Iterator[FloatArray]:
    binding = {"samples": mix.length, "sample_rate": mix.sample_rate, "speakers": mix.speakers}
    return separator.separate(
        mix,
        scratch=folder,
        step=lambda _: None,
        cancel=CancelToken(),
        checkpoint=Checkpoint(folder / "job.checkpoint", binding),
    )


def heard(path: Path, stem: str, part: int) -> tuple[FloatArray, int]:
    """Everything of a stem that is there, read part by part."""
    preview = open_preview(path)
    assert preview is not None
    starts = range(0, preview.available, part)
    parts = [preview.window(stem, at, min(at + part, preview.available)) for at in starts]
    assert all(found is not None for found in parts)
    return np.concatenate([np.empty((2, 0), np.float32), *parts], axis=1), preview.available  # type: ignore[list-item]


@pytest.mark.parametrize(("separator", "seconds"), [(HpssSeparator, 20.0), (demucs, 1.6)])
def test_what_is_heard_is_what_the_separator_gave(
    separator: Callable[[], Separator], seconds: float, tmp_path: Path
) -> None:
    mix = Audio(music(seconds, SAMPLE_RATE), SAMPLE_RATE)
    made = separator()
    blocks, given = begin(made, mix, tmp_path), []
    assert open_preview(tmp_path / "job.checkpoint") is None
    for block in blocks:
        given.append(block)
        stems = np.concatenate(given, axis=2)
        # Its writer holds the lock, and is in the middle of it.
        found, available = heard(tmp_path / "job.checkpoint", "vocals", SAMPLE_RATE // 3)
        assert available == stems.shape[2]
        assert np.array_equal(found, stems[made.stems.index("vocals")])
    assert available == mix.length


def test_parts_at_another_rate_join_without_a_seam(tmp_path: Path) -> None:
    rate = 11025
    mix = Audio(music(4.3, rate), rate)
    separator = demucs()
    for stop_after in (2, None):
        blocks = begin(separator, mix, tmp_path)
        given = [next(blocks) for _ in range(stop_after)] if stop_after else list(blocks)
        blocks.close()  # type: ignore[attr-defined]
        whole = np.concatenate(given, axis=2)[separator.stems.index("bass")]
        found, available = heard(tmp_path / "job.checkpoint", "bass", rate)
        assert available % rate == 0 or available == mix.length
        assert np.abs(found - whole[:, :available]).max(initial=0.0) < 1e-5
    assert available == mix.length


def test_networks_that_are_independent_are_heard_from_a_file_each(tmp_path: Path) -> None:
    mix = Audio(music(1.6, SAMPLE_RATE), SAMPLE_RATE)
    separator = bag()
    whole = np.concatenate(list(begin(separator, mix, tmp_path)), axis=2)
    for name, stem in (("drums-bass", "bass"), ("other-vocals", "vocals")):
        found, _ = heard(tmp_path / f"job.{name}.checkpoint", stem, 5000)
        assert np.array_equal(found, whole[separator.stems.index(stem)])


@pytest.mark.parametrize("separator", [HpssSeparator, demucs])
def test_surround_sound_is_folded_down(separator: Callable[[], Separator], tmp_path: Path) -> None:
    mix = Audio(music(1.6, SAMPLE_RATE, 5), SAMPLE_RATE)
    made = separator()
    whole = np.concatenate(list(begin(made, mix, tmp_path)), axis=2)[made.stems.index("drums")]
    found, _ = heard(tmp_path / "job.checkpoint", "drums", mix.length)
    assert np.allclose(found, fold_matrix(speakers_of(None, 5)) @ whole, atol=1e-6)


def test_a_torn_or_damaged_block_is_not_heard(tmp_path: Path) -> None:
    mix = Audio(music(1.6, SAMPLE_RATE), SAMPLE_RATE)
    (*blocks,) = begin(demucs(), mix, tmp_path)
    path = tmp_path / "job.checkpoint"
    whole = path.read_bytes()
    for cut in (1, 1000, blocks[-1].nbytes):
        path.write_bytes(whole[:-cut])
        preview = open_preview(path)
        assert preview is not None and preview.available == mix.length - blocks[-1].shape[2]
        assert preview.window("vocals", 0, mix.length) is None
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    preview = open_preview(path)
    assert preview is not None
    assert preview.window("vocals", 0, preview.available - blocks[-1].shape[2]) is not None
    assert preview.window("vocals", 0, preview.available) is None
    for size in range(0, 400, 7):
        path.write_bytes(whole[:size])
        found = open_preview(path)
        assert found is None or found.available == 0
    path.unlink()
    assert preview.window("vocals", 0, 1) is None
