"""Loudness of the mix and of every stem after EBU R 128, as figures and over time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.annotations import Annotation, LoudnessCurve, LoudnessFigures, LoudnessValues
from pipeline.audio import Audio
from pipeline.estimators.base import Recording
from pipeline.loudness import ABSOLUTE_GATE_LUFS, STEPS_PER_SECOND, measure

MOST_POINTS: Final = 600
"""Of a curve: a point a second for ten minutes, more than a screen shows."""


class LoudnessEstimator:
    """Measures everything at its own sample rate and in all its channels."""

    name = "loudness"
    method = "ITU-R BS.1770-5 integrated loudness and true peak, EBU Tech 3341 windows, EBU Tech 3342 range"
    version = "2"
    needs: tuple[str, ...] = ()
    budget = 0.4

    def estimate(self, recording: Recording, found: Mapping[str, Annotation]) -> LoudnessValues:
        """Measure the mix and the stems.

        Args:
            recording: the mix and its stems.
            found: not used.

        Returns:
            LoudnessValues, null where a figure is not defined (silence, too short).
        """
        return LoudnessValues(
            method=self.method,
            version=self.version,
            source="mix",
            stems={name: LoudnessFigures(**_figures(stem)) for name, stem in recording.stems.items()},
            **_figures(recording.mix),
        )


def _figures(audio: Audio) -> dict[str, Any]:
    found = measure(audio)
    plr = None
    if found.integrated_lufs is not None and found.true_peak_dbtp is not None:
        plr = found.true_peak_dbtp - found.integrated_lufs
    # Both curves have the same step: that of the longer.
    size = max(math.ceil(len(found.momentary_lufs) / MOST_POINTS), 1)
    return {
        "integrated_lufs": _rounded(found.integrated_lufs),
        "range_lu": _rounded(found.range_lu),
        "true_peak_dbtp": _rounded(found.true_peak_dbtp),
        "sample_peak_dbfs": _rounded(found.sample_peak_dbfs),
        "momentary_max_lufs": _loudest(found.momentary_lufs),
        "short_term_max_lufs": _loudest(found.short_term_lufs),
        "plr_lu": _rounded(plr),
        "curve": LoudnessCurve(
            step_s=size / STEPS_PER_SECOND,
            momentary_lufs=_thinned(found.momentary_lufs, size),
            short_term_lufs=_thinned(found.short_term_lufs, size),
        ),
    }


def _thinned(curve: npt.NDArray[np.float64], size: int) -> list[float | None]:
    return [_loudest(curve[start : start + size]) for start in range(0, len(curve), size)]


def _loudest(curve: npt.NDArray[np.float64]) -> float | None:
    loudest = float(curve.max(initial=ABSOLUTE_GATE_LUFS))
    return round(loudest, 2) if loudest > ABSOLUTE_GATE_LUFS else None


def _rounded(value: float | None) -> float | None:
    # Meters show tenths; a hundredth keeps comparisons within the 0.1 LU of EBU Tech 3341 exact.
    return None if value is None else round(value, 2)
