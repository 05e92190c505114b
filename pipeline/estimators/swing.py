"""How beats are divided: into halves, thirds, or halves of unequal length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.estimators.onsets import Onsets

CLEAR_ONSET = 0.4
"""Onset strength, relative to a typical onset, that counts."""
FEWEST, LEAST_SHARE = 8, 0.15
"""Beats that have to be divided for a pattern to be spoken of: their number, and their share of all."""
EARLIEST, LATEST = 0.42, 0.72
"""Where in a beat the second of two eighths may lie: from straight to 2.5:1; then come sixteenths."""
SPREAD = 0.045
"""Part of a beat within which the eighths of a pattern lie."""
AGREEING = 0.5
"""Share of the onsets between beats, in reach of a second eighth, that has to agree on its place."""
THIRDS_SHARE = 0.5
"""First thirds that there have to be for each second one, for a beat to be divided into three."""

FloatCurve = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Division:
    """How beats are divided.

    Attributes:
        parts: 2 or 3; None where beats are not divided, or not alike.
        swing: length of the first of two parts over the second; None unless there are two.
    """

    parts: Literal[2, 3] | None
    swing: float | None


def division(onsets: Onsets, beats: FloatCurve) -> Division:
    """Look where between beats the onsets lie.

    Args:
        onsets: of what carries the beat.
        beats: float64 (beats,) frames.
    """
    nothing = Division(None, None)
    if len(beats) < FEWEST + 1:
        return nothing
    places, beat = _between(onsets, beats)
    later = (places >= EARLIEST) & (places <= LATEST)
    enough = max(FEWEST, LEAST_SHARE * (len(beats) - 1))
    if np.count_nonzero(later) < enough:
        return nothing
    grid = np.arange(EARLIEST, LATEST, 0.005)
    close = np.abs(places[later][:, None] - grid) < SPREAD
    best = int(close.sum(axis=0).argmax())
    # Onsets at that place, each beat once; their mean is finer than the grid.
    agree = later & (np.abs(places - grid[best]) < SPREAD)
    divided = len(np.unique(beat[agree]))
    if divided < enough or divided < AGREEING * len(np.unique(beat[later])):
        return nothing
    second = float(places[agree].mean())
    first = len(np.unique(beat[np.abs(places - 1 / 3) < SPREAD]))
    if abs(second - 2 / 3) < SPREAD and first > THIRDS_SHARE * divided:
        return Division(3, None)
    return Division(2, round(second / (1 - second), 2))


def _between(onsets: Onsets, beats: FloatCurve) -> tuple[FloatCurve, npt.NDArray[np.intp]]:
    """Onsets between beats: the part of the beat at which each lies, and the number of that beat."""
    curve = onsets.full
    inner = curve[1:-1]
    peaks = (inner >= curve[:-2]) & (inner > curve[2:]) & (inner > CLEAR_ONSET * onsets.typical)
    at = np.flatnonzero(peaks) + 1
    beat = np.searchsorted(beats, at, side="right") - 1
    inside = (beat >= 0) & (beat < len(beats) - 1)
    at, beat = at[inside], beat[inside]
    return (at - beats[beat]) / np.diff(beats)[beat], beat
