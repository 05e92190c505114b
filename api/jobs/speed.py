"""How long jobs take on this machine: learned from those that have ended.

Time goes into segments that networks are run on, so a job counts by them: a recording of 6 s costs two, one
of 11 s also two. Jobs are compared with those of the same model and precision; what shifts and overlap cost
is known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any, Final

from api.jobs.model import Job
from pipeline.config import PipelineConfig
from pipeline.weights.registry import HPSS, get_model_spec

_START_S: Final = 0.5
"""What a job costs however short it is, in a worker whose model is warm."""
_SEGMENT_S: Final = 7.8
"""Of the networks with a transformer; where it is another, the figures still compare like with like."""
_FIRST_GUESS: Final = {HPSS: 0.2}
_NETWORK_GUESS: Final = {"exact": 0.6, "balanced": 0.3, "fast": 0.25}
"""Seconds of work per second of audio on two cores, for one network, until a job has shown it."""
_REUSED: Final = 0.2
"""A separation that took this share of the usual was taken over from another job: it shows nothing."""

_COUNTED: Final = ("model", "precision", "shifts", "overlap")


def predict_s(
    duration_s: float, options: Mapping[str, Any], done: Iterable[Job], defaults: PipelineConfig
) -> tuple[float, bool]:
    """Predict the time of a job, without waiting.

    Args:
        duration_s: of the recording.
        options: of `pipeline.config.PipelineConfig`, those that were chosen.
        done: finished jobs.
        defaults: of jobs that do not say otherwise.

    Returns:
        Seconds, and whether the speed was seen on this machine.
    """
    like = _asked(options, defaults)
    speeds = [
        max(spent - _START_S, 0.05) / _segments(job.duration_s, theirs)
        for job in done
        if job.duration_s and (spent := sum(stage.seconds for stage in job.stages))
        if (theirs := _asked(job.options, defaults)).model == like.model
        and theirs.precision == like.precision
    ]
    if speeds:
        usual = median(speed for speed in speeds if speed > _REUSED * max(speeds))
        return _START_S + _segments(duration_s, like) * usual, True
    networks = max(len(get_model_spec(like.model).members), 1)
    guess = _FIRST_GUESS.get(like.model, networks * _NETWORK_GUESS[like.precision])
    return _START_S + duration_s * guess * max(like.shifts, 1), False


def _asked(options: Mapping[str, Any], defaults: PipelineConfig) -> PipelineConfig:
    """What decides how much is computed; all else may be what this version no longer knows."""
    return defaults.model_copy(update={name: options[name] for name in _COUNTED if name in options})


def _segments(duration_s: float, config: PipelineConfig) -> float:
    length = get_model_spec(config.model).segment_s or _SEGMENT_S
    return math.ceil(duration_s / (length * (1.0 - config.segment_overlap))) * max(config.shifts, 1)
