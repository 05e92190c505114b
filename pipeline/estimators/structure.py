"""How alike the steps of a recording are, and where that changes: the ground that its form is read from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pipeline.audio import Audio, FloatArray
from pipeline.estimators.base import ANALYSIS_RATE
from pipeline.estimators.onsets import mel_filters
from pipeline.estimators.pitches import PITCHES, fold

WINDOW, HOP = 2048, 1024
BANDS = 40
COEFFICIENTS = 13
FLOOR_DB = -50.0
"""Of a band, below the typical level of the mix: softer than that nothing counts."""

TIMBRE_WEIGHT, HARMONY_WEIGHT, LEVEL_WEIGHT = 1.0, 0.6, 0.3

CONTRAST_STEPS = 24
"""Steps on each side of a boundary that are compared: six bars of four."""
CONTRAST_TAPER = 0.7

EMBEDDED_STEPS = 8
NEIGHBOURS = 0.08
"""Share of all steps that count as repetitions of one."""
REPEAT_LAG, REPEAT_TIME = 1.5, 4.0
"""Widths in steps of the smoothing over lags and over time."""
WINDOW_STEPS = 2000
"""Repetitions are sought within so many steps, a quarter of an hour: more than a song."""
NEAR_STEPS = 3

_FRAMES_PER_BLOCK = 1024
_TINY = 1e-9

FloatCurve = npt.NDArray[np.float64]


def band_power(audio: Audio, edges_s: FloatCurve) -> FloatCurve:
    """Mean power in mel bands of each step: float64 (steps, BANDS)."""
    steps = len(edges_s) - 1
    sums, count = np.zeros((steps, BANDS)), np.zeros(steps)
    for first, frames in _mel_frames(audio):
        times = (first + np.arange(len(frames))) * HOP / ANALYSIS_RATE
        owner = np.clip(np.searchsorted(edges_s, times, side="right") - 1, 0, steps - 1)
        np.add.at(sums, owner, frames)
        count += np.bincount(owner, minlength=steps)
    return np.asarray(sums / np.maximum(count, 1)[:, None])


def features(mix: FloatCurve, stems: Mapping[str, FloatCurve], strength: FloatArray) -> FloatCurve:
    """Describe each step by timbre, harmony and, where there are stems, by which of them sound.

    Args:
        mix: float64 (steps, BANDS) from `band_power`.
        stems: the same of each stem.
        strength: float32 (steps, PITCHES) of what has the harmony, from `pitches`.

    Returns:
        float64 (steps, n), at distance 1 from their mean in the root mean square.
    """
    from scipy.fft import dct

    reference = typical(mix)
    timbre = dct(_decibel(mix / reference), axis=1, norm="ortho")[:, :COEFFICIENTS]
    parts = [(TIMBRE_WEIGHT, timbre), (HARMONY_WEIGHT, harmony(strength))]
    if stems:
        level = [_decibel(stem.sum(axis=1) / reference) for stem in stems.values()]
        parts.append((LEVEL_WEIGHT, np.stack(level, axis=1)))
    return _scaled(np.hstack([np.sqrt(weight) * _scaled(part) for weight, part in parts]))


def harmony(strength: FloatArray) -> FloatCurve:
    """Pitch classes of each step, of length 1: float64 (steps, 12)."""
    chroma = fold(np.sqrt(strength), np.ones(PITCHES))
    return np.asarray(chroma / (np.linalg.norm(chroma, axis=1, keepdims=True) + 1e-6))


def typical(mix: FloatCurve) -> float:
    """Mean power weighted by itself: that of the passages that sound, however few they are."""
    power = mix.sum(axis=1)
    return float(np.square(power).sum() / max(power.sum(), _TINY)) or _TINY


def contrast(described: FloatCurve) -> FloatCurve:
    """How much each step's past differs from its future while both are alike within: float64 (steps,).

    The checkerboard kernel of Foote, "Automatic audio segmentation using a measure of audio novelty" (ICME
    2000), but each side is averaged over what there is of it, so that start and end are no boundaries.
    """
    steps = len(described)
    out = np.zeros(steps)
    for step in range(2, steps - 1):
        past, future = (
            described[max(step - CONTRAST_STEPS, 0) : step],
            described[step : step + CONTRAST_STEPS],
        )
        weight = np.concatenate([_taper(len(past))[::-1], -_taper(len(future))])
        both = np.vstack([past, future])
        out[step] = weight @ np.exp(-_distances(both) / 2) @ weight
        out[step] *= np.sqrt(min(len(past), len(future)) / CONTRAST_STEPS)
    return out


def repetition_change(described: FloatCurve) -> FloatCurve:
    """How much changes at each step in what it repeats: float64 (steps,).

    Structure features of Serrà et al., "Unsupervised music structure annotation by time series structure
    features and segment similarity" (IEEE TMM 16, 2014), in windows of `WINDOW_STEPS`.
    """
    steps = len(described)
    out, weight = np.zeros(steps), np.full(steps, _TINY)
    hop = WINDOW_STEPS // 2
    for start in range(0, max(steps - hop, 1), hop):
        stop = min(start + WINDOW_STEPS, steps)
        shape = np.bartlett(stop - start + 2)[1:-1]
        out[start:stop] += shape * _lag_change(described[start:stop])
        weight[start:stop] += shape
    return np.asarray(out / weight)


def _lag_change(described: FloatCurve) -> FloatCurve:
    from scipy.ndimage import gaussian_filter

    steps = len(described)
    if steps < 2 * EMBEDDED_STEPS:
        return np.zeros(steps)
    padded = np.pad(described, ((EMBEDDED_STEPS // 2, EMBEDDED_STEPS // 2), (0, 0)), mode="edge")
    embedded = np.hstack([padded[i : i + steps] for i in range(EMBEDDED_STEPS)]).astype(np.float32)
    distance = _distances(embedded)
    index = np.arange(steps)
    distance[np.abs(index[:, None] - index) <= NEAR_STEPS] = np.inf
    near = min(max(2, round(NEIGHBOURS * steps)), steps - 1)
    closest = np.partition(distance, near, axis=1)[:, near]
    mutual = (distance <= closest[:, None]) & (distance <= closest) & np.isfinite(distance)
    lags = np.zeros((steps, 2 * steps - 1), dtype=np.float32)
    lags[index[:, None], steps - 1 - index[:, None] + index] = mutual
    del distance, mutual  # As large as `lags`, and the filter takes as much again.
    gaussian_filter(lags, (REPEAT_TIME, REPEAT_LAG), output=lags, mode=("nearest", "constant"))
    change = [np.sqrt(np.square(after - before).sum()) for before, after in pairwise(lags)]
    return np.array([0.0, *change])


def _distances(points: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    square = np.square(points).sum(axis=1)
    return np.asarray(np.maximum(square[:, None] + square - 2 * points @ points.T, 0.0))


def _taper(size: int) -> FloatCurve:
    """Weights that sum to 1, falling with the distance from the boundary: float64 (size,)."""
    weight = np.exp(-0.5 * np.square((np.arange(size) + 1) / (CONTRAST_TAPER * CONTRAST_STEPS)))
    return np.asarray(weight / weight.sum())


def _scaled(part: FloatCurve) -> FloatCurve:
    centred = part - part.mean(axis=0)
    return np.asarray(centred / (np.sqrt(np.square(centred).sum(axis=1).mean()) + _TINY))


def _decibel(ratio: FloatCurve) -> FloatCurve:
    return np.asarray(10 * np.log10(ratio + 10 ** (FLOOR_DB / 10)))


def _mel_frames(audio: Audio) -> Iterator[tuple[int, FloatArray]]:
    from scipy.fft import rfft

    filters, _ = mel_filters(WINDOW, BANDS)
    window = (np.hanning(WINDOW) * 4 / WINDOW).astype(np.float32)
    total = 1 + audio.length // HOP if audio.length else 0
    for first in range(0, total, _FRAMES_PER_BLOCK):
        last = min(first + _FRAMES_PER_BLOCK, total)
        samples = audio.window(first * HOP - WINDOW // 2, (last - 1) * HOP + WINDOW // 2)[0]
        frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP] * window
        yield first, np.square(np.abs(rfft(frames, axis=1))) @ filters
