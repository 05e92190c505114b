"""What every separator promises, whatever is inside."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.audio import Audio, FloatArray
from pipeline.config import PipelineConfig
from pipeline.errors import Cancelled
from pipeline.progress import CancelToken
from pipeline.separators.base import Separator
from pipeline.separators.compiled.engine import CompiledEngine
from pipeline.separators.demucs import DemucsSeparator
from pipeline.separators.hpss import HpssSeparator
from tests.audio_files import music
from tests.networks import SOURCES, hdemucs, htdemucs, loaded, plain_htdemucs, separator_of


def bag() -> Separator:
    shares = [(1.0, 0.0, 1.0, 0.0), (0.0, 1.0, 0.0, 1.0)]
    return separator_of(loaded([htdemucs(1), htdemucs(2)], shares))


def compiled(parallel: int) -> Separator:
    model = loaded([plain_htdemucs()])
    return DemucsSeparator(
        model, PipelineConfig(), SOURCES, CompiledEngine(model.networks, "float32", parallel, parallel)
    )


BACKENDS: dict[str, Callable[[], Separator]] = {
    "hpss": HpssSeparator,
    "htdemucs": lambda: separator_of(loaded([htdemucs()])),
    "hdemucs": lambda: separator_of(loaded([hdemucs()])),
    "htdemucs with shifts": lambda: separator_of(loaded([htdemucs()]), PipelineConfig(shifts=2)),
    "a bag": bag,
    "compiled": lambda: compiled(1),
    "compiled, two segments at a time": lambda: compiled(2),
}


@pytest.fixture(params=BACKENDS)
def separator(request: pytest.FixtureRequest) -> Separator:
    return BACKENDS[request.param]()


def blocks(
    separator: Separator, mix: Audio, scratch: Path, step: Callable[[float], None] = lambda _: None
) -> list[FloatArray]:
    return list(separator.separate(mix, scratch=scratch, step=step, cancel=CancelToken()))


@pytest.mark.parametrize(
    ("sample_rate", "channels", "samples"),
    [
        (8000, 1, 9000),
        (8000, 2, 4001),
        (44100, 2, 30001),
        (22050, 1, 2205),
        (48000, 6, 12345),
        (96000, 2, 20000),
        (11025, 8, 5000),
    ],
)
def test_stems_have_the_rate_channels_and_exact_length_of_the_mix(
    separator: Separator, tmp_path: Path, sample_rate: int, channels: int, samples: int
) -> None:
    mix = Audio(music(samples / sample_rate, sample_rate, channels)[:, :samples], sample_rate)
    out = np.concatenate(blocks(separator, mix, tmp_path), axis=-1)
    assert out.shape == (len(separator.stems), channels, samples)
    assert out.dtype == np.float32
    assert np.isfinite(out).all()


def test_progress_rises_to_one(separator: Separator, tmp_path: Path) -> None:
    steps: list[float] = []
    blocks(separator, Audio(music(2.0, 8000), 8000), tmp_path, steps.append)
    assert steps == sorted(steps)
    assert steps[-1] == pytest.approx(1.0)


def test_a_cancel_takes_effect_within_one_segment(separator: Separator, tmp_path: Path) -> None:
    cancel, steps = CancelToken(), []

    def step(fraction: float) -> None:
        steps.append(fraction)
        cancel.cancel()

    mix = Audio(music(30.0, 8000), 8000)
    with pytest.raises(Cancelled):
        list(separator.separate(mix, scratch=tmp_path, step=step, cancel=cancel))
    assert len(steps) == 1


def test_the_same_mix_gives_the_same_samples(separator: Separator, tmp_path: Path) -> None:
    mix = Audio(music(1.5, 8000), 8000)
    first, second = (np.concatenate(blocks(separator, mix, tmp_path), axis=-1) for _ in range(2))
    assert np.array_equal(first, second)


def test_a_silent_channel_pair_stays_silent(separator: Separator, tmp_path: Path) -> None:
    samples = music(1.0, 8000, 4)
    samples[2:] = 0
    mix = Audio(samples, 8000, ("FL", "FR", "BL", "BR"))
    out = np.concatenate(blocks(separator, mix, tmp_path), axis=-1)
    assert np.abs(out[:, :2]).max() > 1e-4
    assert np.abs(out[:, 2:]).max() < 1e-6


def test_a_very_short_mix_is_separated(separator: Separator, tmp_path: Path) -> None:
    mix = Audio(music(0.1, 8000), 8000)
    assert np.concatenate(blocks(separator, mix, tmp_path), axis=-1).shape[-1] == 800


def test_memory_is_bounded_by_blocks(separator: Separator, tmp_path: Path) -> None:
    mix = Audio(music(70.0, 8000), 8000)
    assert max(block.shape[-1] for block in blocks(separator, mix, tmp_path)) < mix.length
