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
from pipeline.estimators.chord_templates import (
    NO_CHORD,
    QUALITIES,
    ROOTS,
    bass_classes,
    evidence,
    labels,
    melody_classes,
)
from pipeline.estimators.grid import Steps, beat_grid
from pipeline.estimators.path import best_path
from pipeline.estimators.pitches import SILENCE, pitched_source, pitches
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

CLEAR_SHARE = 0.06
"""Of the pitch classes, that each tone of a triad has in music; a lone note's fifth and third have 0.03."""

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
    version = "2"
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
            classes = melody_classes(melody), bass_classes(bass)
            segments = _segments(grid, path, sure, *classes, duration_s)
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
    return np.asarray(level <= max(loud * 10 ** (SILENT_DB / 20), SILENCE))


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
    grid: Steps,
    path: npt.NDArray[np.intp],
    sure: FloatCurve,
    melody: FloatCurve,
    bass: FloatCurve,
    duration_s: float,
) -> list[ChordSegment]:
    names = labels()
    edges = np.flatnonzero(np.diff(path, prepend=-1))
    out = []
    for start, stop in zip(edges, [*edges[1:], len(path)], strict=True):
        label = names[path[start]]
        complete = _completeness(label, melody[start:stop].mean(axis=0))
        out.append(
            ChordSegment(
                start_s=round(float(grid.edges_s[start]), 3),
                end_s=round(min(float(grid.edges_s[stop]), duration_s), 3),
                label=label + _inversion(label, bass[start:stop].mean(axis=0)),
                confidence=round(complete * float(sure[start:stop].mean()), 3),
            )
        )
    return out


def _completeness(label: str, classes: FloatCurve) -> float:
    """Whether root, third and fifth all sound, 0..1: a single tone, or the hum of the mains, is no chord."""
    if label == NO_CHORD:
        return 0.0
    root, quality = label.split(":")
    triad = [(ROOTS.index(root) + interval) % 12 for interval in QUALITIES[quality][0][:3]]
    return min(float(classes[triad].min()) / CLEAR_SHARE, 1.0)


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
