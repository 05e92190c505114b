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
        SoundEstimator(),  # last: it looks at what the others found
    )
}
"""Estimators by the name of the manifest field that they fill. They hold no state."""


def select(names: tuple[str, ...] | None) -> list[Estimator]:
    """Choose estimators by name.

    Args:
        names: any of `ESTIMATORS`; None for all, empty for none.

    Returns:
        The estimators in running order, each once, whatever the order of the names.

    Raises:
        EstimatorUnknown: a name is not registered.
    """
    if names is None:
        return list(ESTIMATORS.values())
    for name in names:
        if name not in ESTIMATORS:
            raise EstimatorUnknown(
                f"There is no estimator named {name!r}.", f"Choose from: {', '.join(ESTIMATORS)}."
            )
    return [estimator for name, estimator in ESTIMATORS.items() if name in names]
