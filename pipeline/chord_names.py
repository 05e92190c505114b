"""Chords as musicians write them."""

from __future__ import annotations

from typing import Final

NO_CHORD: Final = "N.C."
_QUALITIES: Final = {
    "maj": "", "min": "m", "7": "7", "maj7": "maj7", "min7": "m7", "dim": "dim", "aug": "+", "sus2": "sus2",
    "sus4": "sus4", "hdim7": "m7b5", "dim7": "dim7", "maj6": "6", "min6": "m6", "9": "9",
    "minmaj7": "m(maj7)", "maj9": "maj9", "min9": "m9",
}  # fmt: skip
"""How Harte's shorthands are written above a staff."""
_DEGREES: Final = ("1", "b2", "2", "b3", "3", "4", "b5", "5", "b6", "6", "b7", "7")
_NATURAL: Final = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
PITCH_CLASSES: Final = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
"""As keys, chords and notes are spelt everywhere, from C."""


def chord_name(label: str) -> str:
    """A chord of Harte's notation as musicians write it: ``A:min7/b3`` is ``Am7/C``, and ``N`` is ``N.C.``.

    Harte et al., "Symbolic Representation of Musical Chords", ISMIR 2005. What has no shorthand stays.
    """
    if label in ("N", "X"):
        return NO_CHORD
    whole, _, degree = label.partition("/")
    root, _, quality = whole.partition(":")
    bass = f"/{_bass(root, degree)}" if degree else ""
    return f"{root}{_QUALITIES.get(quality, quality)}{bass}"


def _bass(root: str, degree: str) -> str:
    if degree not in _DEGREES or root[:1] not in _NATURAL:
        return degree
    step = _NATURAL[root[0]] + root.count("#") - root[1:].count("b") + _DEGREES.index(degree)
    return PITCH_CLASSES[step % 12]
