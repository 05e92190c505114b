"""Which passages of a recording are alike, and what musicians call them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

ALIKE = 0.6
"""Similarity from which two passages, or on average two groups of them, get the same letter."""
HARMONY_SHARE = 0.6
"""Of the similarity; the sound has the rest."""
SHIFT_STEPS = 2
"""A passage may begin that much earlier or later than the one that it repeats."""
FULL_LENGTH = 0.5
"""Of the longer passage: shorter ones are not the same passage."""

SUNG = 0.35
"""Share of its steps with a voice that makes a passage a sung one."""
LOUDER_DB = 1.0
"""That a chorus is louder than the other passage that is sung and repeated."""

Name = Literal["intro", "verse", "chorus", "instrumental", "outro"]
FloatCurve = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch between two boundaries.

    Attributes:
        harmony: float64 (steps, 12) pitch classes of its steps, of length 1.
        sound: float64 (n,) mean of what describes its steps, near 0 for a typical passage.
        level_db: of the mix.
        sung: share of its steps with a voice; None where no stem tells.
    """

    harmony: FloatCurve
    sound: FloatCurve
    level_db: float
    sung: float | None


def letters(passages: Sequence[Passage]) -> list[str]:
    """Give passages that are alike one letter, in order of appearance: A, B ... Z, AA ..."""
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(passages) < 2:
        return ["A"] * len(passages)
    differ = [1 - similarity(one, other) for one, other in combinations(passages, 2)]
    groups = fcluster(linkage(differ, "average"), 1 - ALIKE, "distance").tolist()
    order = list(dict.fromkeys(groups))
    return [_letter(order.index(group)) for group in groups]


def similarity(one: Passage, other: Passage) -> float:
    """How alike two passages are in the course of their harmony and in sound, up to 1."""
    short, long = sorted((one.harmony, other.harmony), key=len)
    if len(short) < FULL_LENGTH * len(long):
        return 0.0
    course = max(_course(short, long, shift) for shift in range(-SHIFT_STEPS, SHIFT_STEPS + 1))
    sound = float(np.exp(-np.square(one.sound - other.sound).sum()))
    return HARMONY_SHARE * course + (1 - HARMONY_SHARE) * sound


def names(passages: Sequence[Passage], letter: Sequence[str]) -> list[Name | None]:
    """Name passages by who sings, what is repeated and how loud it is; None where that does not tell.

    The chorus is the loudest of the passages that are sung and repeated, the verse another of them; what
    is not sung is an intro, an outro or instrumental by its place.
    """
    sung = [passage.sung is not None and passage.sung >= SUNG for passage in passages]
    if not any(sung):
        return [None] * len(passages)
    places = [at for at, sings in enumerate(sung) if sings]
    level = {
        one: float(np.mean([passages[at].level_db for at in places if letter[at] == one]))
        for one, times in Counter(letter[at] for at in places).items()
        if times > 1
    }
    ranked = sorted(level, key=lambda one: -level[one])
    told: dict[str, Name] = {}
    if len(ranked) > 1 and level[ranked[0]] - level[ranked[1]] >= LOUDER_DB:
        told[ranked[0]] = "chorus"
        told[min(ranked[1:], key=letter.index)] = "verse"
    return [
        told.get(letter[at]) if sung[at] else _unsung(at, len(passages), passage)
        for at, passage in enumerate(passages)
    ]


def _unsung(at: int, passages: int, passage: Passage) -> Name | None:
    if passage.sung is None:
        return None
    return "intro" if at == 0 else "outro" if at == passages - 1 else "instrumental"


def _course(short: FloatCurve, long: FloatCurve, shift: int) -> float:
    """Mean correlation of the pitch classes step by step, with the short passage moved."""
    first, second = short[max(-shift, 0) :], long[max(shift, 0) :]
    size = min(len(first), len(second))
    return _correlation(first[:size], second[:size]) if size else 0.0


def _correlation(one: FloatCurve, other: FloatCurve) -> float:
    one, other = (passage - passage.mean(axis=1, keepdims=True) for passage in (one, other))
    scale = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(((one * other).sum(axis=1) / np.maximum(scale, 1e-9)).mean())


def _letter(index: int) -> str:
    return (_letter(index // 26 - 1) if index >= 26 else "") + chr(ord("A") + index % 26)
