"""Tempo in beats per minute, with its octaves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.annotations import Annotation, Tempo, TempoCandidate, TempoPoint
from pipeline.estimators.base import Recording
from pipeline.estimators.harmony import mix_harmony
from pipeline.estimators.onsets import FRAME_RATE, mix_onsets
from pipeline.estimators.pulse import clarity, readings
from pipeline.estimators.tracking import SPAN_BEATS, FloatCurve, local_bpm

CANDIDATES = 5
LEAST_CONFIDENCE = 0.005
CURVE_POINTS = 240


class TempoEstimator:
    """Rates every level of the metre by how well beats tracked at it explain the onsets.

    Listens to the mix even where there are drums: which of several levels people tap is told by all
    instruments together. On the development set onsets of the mix alone choose the right level for
    .79 of the tracks, for .75 with drums weighted in, for .61 from drums alone.
    """

    name = "tempo"
    method = "onset strength, beats and bars tracked at every candidate tempo, log-linear rating"
    version = "3"
    needs: tuple[str, ...] = ()
    budget = 0.3

    def estimate(self, recording: Recording, found: Mapping[str, Annotation]) -> Tempo:
        """Estimate the tempo that holds over most of the recording.

        Args:
            recording: the mix and its stems.
            found: not used.

        Returns:
            Tempo with ``bpm`` null where nothing repeats (noise, silence, less than four beats).
        """
        rated = readings(mix_onsets(recording), mix_harmony(recording))
        clear = clarity(rated, recording.mix.duration_s)
        candidates = [
            TempoCandidate(bpm=round(reading.pulse.bpm, 2), confidence=round(clear * reading.probability, 3))
            for reading in rated[:CANDIDATES]
            if clear * reading.probability >= LEAST_CONFIDENCE
        ]
        return Tempo(
            method=self.method,
            version=self.version,
            source="mix",
            bpm=candidates[0].bpm if candidates else None,
            confidence=candidates[0].confidence if candidates else 0.0,
            candidates=candidates,
            curve=_curve(rated[0].pulse.beats) if candidates else [],
            drift_percent=_drift_percent(rated[0].pulse.beats) if candidates else None,
        )


def _curve(beats: FloatCurve) -> list[TempoPoint]:
    """Tempo over time, from beats in frames, thinned out where there are many."""
    at, bpm = local_bpm(beats)
    some = np.unique(np.linspace(0, len(at) - 1, min(len(at), CURVE_POINTS)).round().astype(np.intp))
    return [
        TempoPoint(time_s=round(max(float(at[i]) / FRAME_RATE, 0.0), 2), bpm=round(float(bpm[i]), 2))
        for i in some
    ]


def _drift_percent(beats: FloatCurve) -> float | None:
    """Rise of the tempo from the first beat to the last, along the line that fits its logarithm best."""
    at, bpm = local_bpm(beats)
    if len(at) < SPAN_BEATS:
        return None
    from scipy.stats import theilslopes

    # A robust line: a span with a beat too many must not pass for drift. Its cost grows with the square.
    some = np.unique(np.linspace(0, len(at) - 1, min(len(at), CURVE_POINTS)).round().astype(np.intp))
    slope = float(theilslopes(np.log(bpm[some]), at[some]).slope)
    return round(100 * float(np.expm1(slope * (beats[-1] - beats[0]))), 2)
