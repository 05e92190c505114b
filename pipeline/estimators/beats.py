"""Beat times, bars, and how beats are divided."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.annotations import Annotation, Beats, MeterSpan, Tempo
from pipeline.estimators.bars import Bars
from pipeline.estimators.base import Recording
from pipeline.estimators.harmony import Harmony, stems_harmony
from pipeline.estimators.onsets import FRAME_RATE, Onsets, rhythm_onsets
from pipeline.estimators.pulse import bars_of, clarity, on_beats, phases, readings
from pipeline.estimators.swing import Division, division
from pipeline.estimators.tracking import FloatCurve, local_tempo

AUDIBLE_ONSET = 0.2
EIGHTHS = (6, 7)
"""Bars of so many beats are written in eighths: 6/8, 7/8."""


class BeatsEstimator:
    """Tracks beats at the tempo found before, following its drift, and counts them into bars.

    Listens to drums and mix together for the beats, to everything but the drums for the harmony, whose
    changes tell the beats from what lies between them, and the first beat of a bar from the others.
    """

    name = "beats"
    method = "dynamic programming over onset strength, bars by a hidden Markov model over harmonic change"
    version = "3"
    needs: tuple[str, ...] = ("tempo",)
    budget = 0.3

    def estimate(self, recording: Recording, found: Mapping[str, Annotation]) -> Beats:
        """Place beats at the level of the metre that the tempo estimator chose.

        Args:
            recording: the mix and its stems.
            found: ``tempo`` is used where it was estimated; otherwise a tempo is sought here.

        Returns:
            Beats, empty where there is no tempo.
        """
        onsets, source = rhythm_onsets(recording)
        harmony = stems_harmony(recording)
        rated = readings(onsets, harmony)
        tempo = found.get("tempo")
        own = rated[0].pulse.bpm if rated else None
        bpm = tempo.bpm if isinstance(tempo, Tempo) else own
        beats = _beats(onsets, harmony, bpm) if bpm is not None else np.zeros(0)
        confidence, bars, parts = 0.0, None, Division(None, None)
        if len(beats) > 1:
            confidence = clarity(rated, recording.mix.duration_s) * on_beats(onsets.presence, beats)
            bars = bars_of(onsets, harmony, beats)
            parts = division(onsets, beats)
        # Rounded before anything is picked from them: first beats are the very numbers of their beats.
        times: FloatCurve = np.clip(beats / FRAME_RATE, 0.0, recording.mix.duration_s).round(4)
        return Beats(
            method=self.method,
            version=self.version,
            source=source,
            times_s=times.tolist(),
            confidence=round(confidence, 3),
            downbeats_s=times[bars.places == 0].tolist() if bars else [],
            meter=_written(bars.size) if bars else None,
            meter_confidence=round(confidence * bars.confidence, 3) if bars else 0.0,
            meters=_spans(times, bars) if bars else [],
            division=parts.parts,
            swing_ratio=parts.swing,
        )


def _beats(onsets: Onsets, harmony: Harmony, bpm: float) -> FloatCurve:
    tried = phases(onsets, harmony, local_tempo(onsets.accents, bpm))
    if not tried:
        return np.zeros(0)
    best, _ = max(tried, key=lambda each: each[1])
    return _sounding(best, onsets)


def _sounding(beats: FloatCurve, onsets: Onsets) -> FloatCurve:
    """Drop the beats before the first onset and after the last: nobody taps along with silence."""
    heard = np.flatnonzero(onsets.presence > AUDIBLE_ONSET)
    if not len(heard) or len(beats) < 2:
        return beats[:0]
    half = float(np.median(np.diff(beats))) / 2
    return np.asarray(beats[(beats >= heard[0] - half) & (beats <= heard[-1] + half)])


def _written(size: int) -> str:
    return f"{size}/8" if size in EIGHTHS else f"{size}/4"


def _spans(times: FloatCurve, bars: Bars) -> list[MeterSpan]:
    """Stretches of bars of one size; each ends where the next starts, the last at the last beat."""
    starts = [0, *(np.flatnonzero(np.diff(bars.sizes)) + 1).tolist()]
    ends = [*starts[1:], len(times) - 1]
    return [
        MeterSpan(
            start_s=float(times[start]), end_s=float(times[end]), meter=_written(int(bars.sizes[start]))
        )
        for start, end in zip(starts, ends, strict=True)
    ]
