"""Chords as patterns of pitch classes, and how well steps of a recording fit them."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.audio import FloatArray
from pipeline.chord_names import PITCH_CLASSES
from pipeline.estimators.pitches import between, fold

ROOTS: Final = PITCH_CLASSES

QUALITIES: Final[dict[str, tuple[tuple[int, ...], float]]] = {
    "maj": ((0, 4, 7), 0.0),
    "min": ((0, 3, 7), 0.0),
    "7": ((0, 4, 7, 10), 1.4),
    "maj7": ((0, 4, 7, 11), 1.5),
    "min7": ((0, 3, 7, 10), 1.5),
    "sus4": ((0, 5, 7), 4.0),
    "dim": ((0, 3, 6), 2.0),
    "dim7": ((0, 3, 6, 9), 3.0),
    "hdim7": ((0, 3, 6, 10), 3.0),
    "aug": ((0, 4, 8), 3.4),
}
"""Semitones above the root, and what each step under the chord costs, in nats: rare chords have to fit better
than frequent ones, and a fourth tone always fits a little."""

NO_CHORD: Final = "N"
NO_CHORD_COST = 4.0

MELODY, BASS = between(44, 72), between(24, 56)
"""Registers in which chords and their roots are looked for: weights of `pitches`."""
MELODY_POWER, BASS_POWER = 0.5, 1.3
"""Compression of the strength of pitches: soft tones belong to a chord as well; the bass is the strongest."""
MELODY_WEIGHT, BASS_WEIGHT = 7.0, 3.5
"""How many independent tones a step counts for."""

TONE_SHARES, OTHER_SHARE = (1.0, 0.85, 0.85, 0.4), 0.04
BASS_SHARES, OTHER_BASS_SHARE = (0.5, 0.15, 0.12, 0.06), 0.02
"""How often root, third, fifth and seventh sound, and how often any other pitch class."""

SCALES: Final = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10, 11)}
FOREIGN_TONE_COST = 0.35
"""For each tone of a chord that is not in the key."""

_STEPS_PER_BLOCK: Final = 4096

FloatCurve = npt.NDArray[np.float64]


def labels() -> list[str]:
    """All chords, `NO_CHORD` first."""
    return [NO_CHORD, *(f"{root}:{quality}" for root in ROOTS for quality in QUALITIES)]


def tones(label: str) -> frozenset[int]:
    """Pitch classes of a chord, from C; none for `NO_CHORD`."""
    if label == NO_CHORD:
        return frozenset()
    root, quality = label.split(":")
    return frozenset((ROOTS.index(root) + interval) % 12 for interval in QUALITIES[quality][0])


def evidence(melody: FloatArray, bass: FloatArray, tonic: str | None, mode: str | None) -> FloatArray:
    """Log-likelihood of every chord at every step.

    Pitch classes are taken for draws from the chord's distribution, the bass for draws from one that
    prefers the root.

    Args:
        melody: float32 (steps, PITCHES) of what has the chords.
        bass: the same of what has the roots.
        tonic: of the key, as `Key` names it; None where there is none.
        mode: of the key.

    Returns:
        float32 (steps, chords) in the order of `labels`; zero where nothing sounds.
    """
    upper, lower = (np.log(shares).T for shares in _distributions())
    costs = _costs(tonic, mode)
    fits = np.empty((len(melody), len(costs)), dtype=np.float32)
    for start in range(0, len(melody), _STEPS_PER_BLOCK):
        here = slice(start, start + _STEPS_PER_BLOCK)
        above, below = fold(melody[here] ** MELODY_POWER, MELODY), fold(bass[here] ** BASS_POWER, BASS)
        fits[here] = MELODY_WEIGHT * _shares(above) @ upper + BASS_WEIGHT * _shares(below) @ lower - costs
    return fits


def bass_classes(bass: FloatArray) -> FloatCurve:
    """Shares of the pitch classes in the bass: float64 (steps, 12)."""
    return _shares(fold(bass**BASS_POWER, BASS))


def melody_classes(melody: FloatArray) -> FloatCurve:
    """Shares of the pitch classes in what has the chords: float64 (steps, 12)."""
    return _shares(fold(melody**MELODY_POWER, MELODY))


def _shares(chroma: FloatCurve) -> FloatCurve:
    return np.asarray(chroma / np.maximum(chroma.sum(axis=1, keepdims=True), 1e-9))


def _distributions() -> tuple[FloatCurve, FloatCurve]:
    upper, lower = [np.full(12, 1 / 12)], [np.full(12, 1 / 12)]
    for root in range(12):
        for intervals, _ in QUALITIES.values():
            above, below = np.full(12, OTHER_SHARE), np.full(12, OTHER_BASS_SHARE)
            for place, interval in enumerate(intervals):
                above[(root + interval) % 12] = TONE_SHARES[place]
                below[(root + interval) % 12] = BASS_SHARES[place]
            upper.append(above / above.sum())
            lower.append(below / below.sum())
    return np.array(upper), np.array(lower)


def _costs(tonic: str | None, mode: str | None) -> FloatCurve:
    costs = np.array([NO_CHORD_COST, *(cost for _ in ROOTS for _, cost in QUALITIES.values())])
    if tonic in ROOTS and mode in SCALES:
        scale = {(ROOTS.index(tonic) + step) % 12 for step in SCALES[mode]}
        costs += FOREIGN_TONE_COST * np.array([len(tones(label) - scale) for label in labels()])
    return costs
