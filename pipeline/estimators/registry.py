"""All estimators, in the order in which they run."""

from __future__ import annotations

from typing import Final

from pipeline.errors import EstimatorUnknown
from pipeline.estimators.activity import ActivityEstimator
from pipeline.estimators.base import Estimator
from pipeline.estimators.beats import BeatsEstimator
from pipeline.estimators.chords import ChordsEstimator
from pipeline.estimators.key import KeyEstimator
from pipeline.estimators.loudness import LoudnessEstimator
from pipeline.estimators.lyrics import LyricsEstimator
from pipeline.estimators.notes import NotesEstimator
from pipeline.estimators.sections import SectionsEstimator
from pipeline.estimators.signal import SignalEstimator
from pipeline.estimators.sound import SoundEstimator
from pipeline.estimators.spectrum import SpectrumEstimator
from pipeline.estimators.tempo import TempoEstimator

ESTIMATORS: Final[dict[str, Estimator]] = {
    estimator.name: estimator
    for estimator in (
        TempoEstimator(),
        BeatsEstimator(),  # after tempo, whose level of the metre it takes over
        KeyEstimator(),
        ChordsEstimator(),  # after beats, where chords change, and the key that they belong to
        SectionsEstimator(),
        LoudnessEstimator(),
        SignalEstimator(),
        SpectrumEstimator(),
        ActivityEstimator(),
        NotesEstimator(),  # after key, which tells how far the recording is out of tune
        SoundEstimator(),  # it looks at what the others found
        LyricsEstimator(),  # after activity, which tells where there is a voice
    )
}
"""Estimators by the name of the manifest field that they fill. They hold no state."""

ALL: Final = "all"
"""Stands for all but those `BY_NAME_ONLY`."""
BY_NAME_ONLY: Final = ("lyrics",)
"""Optional extras: they run where they are asked for."""


def select(names: tuple[str, ...] | None) -> list[Estimator]:
    """Choose estimators by name.

    Args:
        names: any of `ESTIMATORS`, or ``all`` for all but the optional ones; None for these as well, empty
            for none.

    Returns:
        The estimators in running order, each once, whatever the order of the names.

    Raises:
        EstimatorUnknown: a name is not registered.
    """
    names = (ALL,) if names is None else names
    for name in names:
        if name != ALL and name not in ESTIMATORS:
            raise EstimatorUnknown(
                f"There is no estimator named {name!r}.", f"Choose from: {ALL}, {', '.join(ESTIMATORS)}."
            )
    return [
        estimator
        for name, estimator in ESTIMATORS.items()
        if name in names or (ALL in names and name not in BY_NAME_ONLY)
    ]
