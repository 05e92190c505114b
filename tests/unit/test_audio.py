import numpy as np
import pytest

from pipeline.audio import Audio


def ramp(n: int = 10, channels: int = 2) -> Audio:
    return Audio(np.arange(channels * n, dtype=np.float32).reshape(channels, n), 8000)


def test_length_channels_and_duration_follow_from_the_samples() -> None:
    audio = ramp(4000)
    assert (audio.channels, audio.length, audio.duration_s) == (2, 4000, 0.5)


def test_blocks_join_to_the_whole() -> None:
    audio = ramp(10)
    blocks = list(audio.blocks(4))
    assert [b.shape[1] for b in blocks] == [4, 4, 2]
    assert np.array_equal(np.concatenate(blocks, axis=1), audio.samples)


def test_a_block_may_be_changed_without_changing_the_recording() -> None:
    audio = ramp(10)
    next(audio.blocks(4))[:] = -1
    assert audio.samples[0, 0] == 0


def test_a_window_is_zero_outside_of_the_recording() -> None:
    window = ramp(3, channels=1).window(-2, 5)
    assert window.tolist() == [[0, 0, 0, 1, 2, 0, 0]]


@pytest.mark.parametrize("bad", [np.zeros(3, np.float32), np.zeros((1, 3)), np.zeros((1, 3), np.int16)])
def test_anything_but_float32_channels_by_samples_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(TypeError, match="float32"):
        Audio(bad, 8000)
