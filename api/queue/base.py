"""What tells workers that there may be work. The store decides who gets it: see `api.jobs.store`."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Protocol

from api.jobs.model import Job
from pipeline.errors import ConfigError
from pipeline.weights.registry import get_model_spec


class Kind(StrEnum):
    """Which workers are told first."""

    CPU = "cpu"
    GPU = "gpu"  # so much to compute that a GPU pays
    PRIORITY = "priority"  # somebody is in a hurry


class Waker(Protocol):
    """Tells workers that a job waits. Whether the word arrives changes only how soon they look."""

    def wake(self, job: Job) -> None:
        """Say that a job was accepted. Returns at once and never fails."""
        ...

    def close(self) -> None:
        """Say what is left to say, and end."""
        ...


class NoWaker:
    """Workers look for themselves, four times a second: what a single machine needs."""

    def wake(self, job: Job) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


USUAL_S: Final = 240.0
"""Seconds of a recording whose length is unknown."""


def kind_of(job: Job, model: str, gpu_from_s: float) -> Kind:
    """Which workers should be told of a job.

    Args:
        job: as it was accepted.
        model: of jobs that name none.
        gpu_from_s: seconds of audio, times the networks of its model, from which a GPU pays.
    """
    if job.priority > 0:
        return Kind.PRIORITY
    try:
        networks = len(get_model_spec(job.options.get("model") or model).members)
    except ConfigError:  # It will fail for that, wherever.
        return Kind.CPU
    work_s = (job.duration_s or USUAL_S) * networks
    return Kind.GPU if work_s >= gpu_from_s else Kind.CPU
