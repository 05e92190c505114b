"""Chords, and a chart of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pipeline.annotations import Annotation, Chords, ChordSegment, Key
from pipeline.audio import FloatArray
from pipeline.estimators import chord_network
from pipeline.estimators.base import Recording
from pipeline.estimators.chart import chart
from pipeline.estimators.chord_templates import NO_CHORD, QUALITIES, ROOTS, bass_classes, evidence, labels
from pipeline.estimators.grid import Steps, beat_grid
from pipeline.estimators.path import best_path
from pipeline.estimators.pitches import pitched_source, pitches
from pipeline.estimators.tuning import tuning_of

STEPS_PER_BEAT = 2
NETWORK_WEIGHT = 0.2
"""Nats of its log-probabilities, 43 frames a second that know of one another."""
WITH_NETWORK = "; with the network of Jiang et al. 2019"

CHANGE_COST = (12.0, 8.0, 6.0)
"""Nats that a change of chord costs between beats, on a beat, and where a bar begins."""

SILENT_DB = -32.0
"""Below the loud steps of the recording: what is left there leaked in, or rings on."""

ENOUGH_S = 4.0
"""A recording shorter than that holds too few steps to be sure of anything."""

INVERTED_SHARE = 0.6
"""Of the bass, that has to be on another tone of the chord for it to be called inverted."""
INTERVALS = {3: "b3", 4: "3", 7: "5"}
_IMPOSSIBLE = 1e3

FloatCurve = npt.NDArray[np.float64]


class ChordsEstimator:
    """Explains what sounds on every half beat by chords, and weighs that against changing the chord.

    Listens to the stems without drums, and to the bass alone for the roots. A trained network has a say
    where its weights are installed: on the development set sevenths are then right for .93 instead of .86 of
    the time.
    """

    name = "chords"
    method = "harmonic tones fitted to tuned spectra, chord patterns and bass, Viterbi search over half beats"
    version = "1"
    needs: tuple[str, ...] = ("beats", "key")
    budget = 0.5

    def estimate(self, recording: Recording, found: Mapping[str, Annotation]) -> Chords:
        """Name the chords.

        Args:
            recording: the mix and its stems.
            found: ``beats`` and ``key`` are used where they were estimated.

        Returns:
            Chords, without segments for a recording of no length.
        """
        source = pitched_source(recording.stems)
        duration_s = recording.mix.duration_s
        grid = beat_grid(found, duration_s, STEPS_PER_BEAT)
        key = found.get("key")
        segments: list[ChordSegment] = []
        if duration_s > 0:
            tuning = tuning_of(recording, source, key)
            melody, level = pitches(recording.mono(source), grid.edges_s, tuning)
            bass = melody
            if source != "mix":
                bass, _ = pitches(recording.mono("bass"), grid.edges_s, tuning)
            tonic, mode = (key.tonic, key.mode) if isinstance(key, Key) else (None, None)
            fits = evidence(melody, bass, tonic, mode)
            if chord_network.available():
                heard = chord_network.evidence(recording.mono(source), grid.edges_s, tuning)
                heard *= NETWORK_WEIGHT
                fits += heard
            fits[_silent(level), 1:] -= _IMPOSSIBLE
            path = best_path(fits, np.array(CHANGE_COST)[grid.rank])
            sure = _certainty(fits, path) * min(duration_s / ENOUGH_S, 1.0)
            segments = _segments(grid, path, sure, bass_classes(bass), duration_s)
        return Chords(
            method=self.method + (WITH_NETWORK if chord_network.available() else ""),
            version=self.version,
            source=source,
            segments=segments,
            confidence=_mean(segments),
            chart=chart(segments, grid),
        )


def _silent(level: FloatCurve) -> npt.NDArray[np.bool_]:
    loud = float(np.percentile(level, 90))
    return np.asarray(level <= loud * 10 ** (SILENT_DB / 20))


def _certainty(fits: FloatArray, path: npt.NDArray[np.intp]) -> FloatCurve:
    """Probability of the chosen chord's root and third at each step, by that step alone: float64 (steps,)."""
    family = _families()
    related = family[:, None] == family
    sure = np.empty(len(path))
    for step, (fit, state) in enumerate(zip(fits, path, strict=True)):
        weight = np.exp(fit - fit.max(), dtype=np.float64)
        sure[step] = weight[related[state]].sum() / weight.sum()
    return sure


def _families() -> npt.NDArray[np.intp]:
    """Chords that differ in no more than a seventh belong together: intp (chords,)."""
    triads = [intervals[:3] for intervals, _ in QUALITIES.values()]
    first = [triads.index(triad) for triad in triads]
    return np.array([-1, *(root * len(triads) + index for root in range(12) for index in first)])


def _segments(
    grid: Steps, path: npt.NDArray[np.intp], sure: FloatCurve, bass: FloatCurve, duration_s: float
) -> list[ChordSegment]:
    names = labels()
    edges = np.flatnonzero(np.diff(path, prepend=-1))
    out = []
    for start, stop in zip(edges, [*edges[1:], len(path)], strict=True):
        label = names[path[start]]
        out.append(
            ChordSegment(
                start_s=round(float(grid.edges_s[start]), 3),
                end_s=round(min(float(grid.edges_s[stop]), duration_s), 3),
                label=label + _inversion(label, bass[start:stop].mean(axis=0)),
                confidence=0.0 if label == NO_CHORD else round(float(sure[start:stop].mean()), 3),
            )
        )
    return out


def _inversion(label: str, bass: FloatCurve) -> str:
    if label == NO_CHORD:
        return ""
    root, quality = label.split(":")
    lowest = (int(bass.argmax()) - ROOTS.index(root)) % 12
    inside = lowest in QUALITIES[quality][0] and lowest in INTERVALS
    return f"/{INTERVALS[lowest]}" if inside and bass.max() >= INVERTED_SHARE else ""


def _mean(segments: list[ChordSegment]) -> float:
    whole = sum(one.end_s - one.start_s for one in segments)
    sure = sum((one.end_s - one.start_s) * one.confidence for one in segments)
    return round(min(sure / whole, 1.0), 3) if whole > 0 else 0.0
