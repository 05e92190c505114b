"""Power spectra of a recording, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.audio import Audio, FloatArray

_FRAMES_PER_BLOCK: Final = 128


def power_frames(audio: Audio, window: int, every: int = 1) -> Iterator[npt.NDArray[np.float64]]:
    """Walk through the power spectra of half-overlapping Hann windows, summed over channels.

    Args:
        audio: the recording.
        window: samples of a frame, even.
        every: of so many blocks of frames only the first is looked at.

    Yields:
        float64 (<= 128, window / 2 + 1) squared magnitudes.
    """
    from scipy.fft import rfft

    hop = window // 2
    shape = np.hanning(window + 1)[:-1].astype(np.float32)
    for start in range(0, audio.length, every * _FRAMES_PER_BLOCK * hop):
        frames = min(_FRAMES_PER_BLOCK, -(-(audio.length - start) // hop))
        samples: FloatArray = audio.window(start - hop, start + frames * hop)
        sliding = np.lib.stride_tricks.sliding_window_view(samples, window, axis=1)[:, ::hop]
        power = np.zeros((frames, window // 2 + 1))
        for channel in sliding:
            power += np.square(np.abs(rfft(channel * shape, axis=1)))
        yield power
