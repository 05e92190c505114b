"""How far a recording is from A4 = 440 Hz, from the pitches of its spectral peaks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pipeline.annotations import Annotation, Key
from pipeline.audio import Audio, FloatArray
from pipeline.estimators.base import ANALYSIS_RATE, Recording

WINDOW, HOP = 8192, 2048
"""Samples: 0.37 s resolve a semitone down to 90 Hz."""
LOWEST_HZ, HIGHEST_HZ = 60.0, 2000.0
FAINTEST_PARTIAL = 1e-3
"""Relative to the strongest of the frame, in amplitude."""

CENTS = 1200
_FRAMES_PER_BLOCK = 54
BLOCK_S = _FRAMES_PER_BLOCK * HOP / ANALYSIS_RATE
"""Seconds, 5.0: no key lasts shorter."""
_TINY = 1e-9

FloatCurve = npt.NDArray[np.float64]


def tuning_of(recording: Recording, source: str, key: Annotation | None) -> float:
    """Deviation from A4 = 440 Hz in cents, as the key estimator found it or as measured here."""
    if isinstance(key, Key) and key.source == source:
        return key.tuning_cents or 0.0
    cents, noise = pitch_classes(recording.mono(source))
    return tuning(cents.sum(axis=0), noise)[0]


def pitch_classes(audio: Audio) -> tuple[FloatCurve, float]:
    """How strongly every pitch class sounds, cent by cent, in blocks of `BLOCK_S`.

    Each frame counts by the root of its strength, so that a loud chorus does not outvote the rest.

    Args:
        audio: one channel at `ANALYSIS_RATE`.

    Returns:
        float64 (blocks, 1200) strength, bin 0 at A = 440 Hz; and the sum of the squares of all that was
        added, from which `tuning` tells pitch from chance.
    """
    blocks, noise = [], 0.0
    for frames in _spectra(audio):
        lowest, highest = (int(hz * WINDOW / ANALYSIS_RATE) for hz in (LOWEST_HZ, HIGHEST_HZ))
        left, here, right = (frames[:, lowest + d : highest + d] for d in (-1, 0, 1))
        floor = FAINTEST_PARTIAL * frames.max(axis=1, keepdims=True) + _TINY
        frame, bin_ = np.nonzero((here > left) & (here >= right) & (here > floor))
        # The top of a parabola through the logarithms: exact for a Gaussian, near it for Hann.
        low, mid, high = (np.log(part[frame, bin_] + _TINY) for part in (left, here, right))
        shift = 0.5 * (low - high) / np.minimum(low - 2 * mid + high, -_TINY)
        hz = (bin_ + lowest + shift) * (ANALYSIS_RATE / WINDOW)
        strength = np.exp(0.5 * (mid - 0.25 * (low - high) * shift))
        total = np.bincount(frame, strength, minlength=len(frames))
        weight = strength / np.sqrt(total[frame])
        place = np.rint(CENTS * np.log2(hz / 440)).astype(np.intp) % CENTS
        blocks.append(np.bincount(place, weight, minlength=CENTS))
        noise += float(np.square(weight).sum())
    return np.array(blocks, dtype=np.float64).reshape(-1, CENTS), noise


def _spectra(audio: Audio) -> Iterator[FloatArray]:
    """Walk through magnitude spectra: float32 (<= _FRAMES_PER_BLOCK, WINDOW / 2 + 1)."""
    from scipy.fft import rfft

    window = np.hanning(WINDOW).astype(np.float32)
    step = _FRAMES_PER_BLOCK * HOP
    for start in range(0, audio.length, step):
        stop = max(min(start + step + WINDOW // 2 - HOP, audio.length), start + WINDOW // 2)
        samples = audio.window(start - WINDOW // 2, stop)[0]
        yield np.abs(rfft(np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP] * window, axis=1))


def tuning(cents: FloatCurve, noise: float) -> tuple[float, float]:
    """Deviation from A = 440 Hz, and how well partials agree on it.

    Returns:
        Cents, -50..50; and 0..1, the length of the mean vector on the circle of one semitone, with
        the length that chance gives taken off: near 0 for noise, drums and speech.
    """
    total = float(cents.sum())
    if total <= 0:
        return 0.0, 0.0
    vector = complex(cents @ np.exp(2j * np.pi * np.arange(CENTS) / 100))
    focus = np.sqrt(max(abs(vector) ** 2 - noise, 0.0)) / total
    return float(np.angle(vector) * 100 / (2 * np.pi)), float(focus)
