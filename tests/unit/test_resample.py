import numpy as np
import pytest

from pipeline.audio import FloatArray
from pipeline.resample import resample, resampled_length


def tone(hz: float, rate: int, n: int) -> FloatArray:
    return np.sin(2 * np.pi * hz * np.arange(n) / rate).astype(np.float32)[None]


def cut(samples: FloatArray, size: int) -> list[FloatArray]:
    return [samples[:, i : i + size] for i in range(0, samples.shape[1], size)]


@pytest.mark.parametrize(
    ("rate_in", "rate_out"), [(48000, 44100), (44100, 48000), (8000, 44100), (192000, 44100)]
)
@pytest.mark.parametrize("n", [1, 7, 4410, 50001])
def test_the_length_is_exact_and_survives_the_way_back(rate_in: int, rate_out: int, n: int) -> None:
    there = np.concatenate(list(resample(cut(tone(100, rate_in, n), 999), rate_in, rate_out, n)), axis=1)
    assert there.shape[1] == resampled_length(n, rate_in, rate_out)
    back = np.concatenate(list(resample([there], rate_out, rate_in, there.shape[1], n)), axis=1)
    assert back.shape[1] == n


def test_a_tone_keeps_its_place_in_time() -> None:
    n = 48000
    out = np.concatenate(list(resample(cut(tone(1000, 48000, n), 1000), 48000, 44100, n)), axis=1)
    error = out[:, 2000:-2000] - tone(1000, 44100, out.shape[1])[:, 2000:-2000]
    # -100 dB: a shift by a hundredth of a sample would already leave -57 dB.
    assert np.abs(error).max() < 1e-5


def test_the_cut_into_blocks_does_not_change_the_result() -> None:
    n = 30000
    mix = np.random.default_rng(0).standard_normal((2, n)).astype(np.float32)
    whole = np.concatenate(list(resample([mix], 48000, 44100, n)), axis=1)
    pieces = np.concatenate(list(resample(cut(mix, 777), 48000, 44100, n)), axis=1)
    assert np.allclose(whole, pieces, atol=1e-6)


def test_equal_rates_pass_blocks_through_untouched() -> None:
    block = tone(100, 8000, 10)
    assert next(resample([block], 8000, 8000, 10)) is block
