"""What was counted of jobs since the beginning, in the transactions that made it happen.

Every process reads the same figures. They survive restarts, never go back, and count nothing twice, so that a
rate over any time is right.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, insert, select, update

from api.jobs.model import Job, JobStatus
from api.jobs.tables import totals
from pipeline.errors import (
    ConfigError,
    DecodeTimeout,
    DeviceUnavailable,
    InputChanged,
    InputError,
    InputNotFound,
    InputUnreadable,
    PipelineError,
)
from pipeline.progress import STAGES

ENDED: Final = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)
"""The ways in which a job ends."""

_SUM: Final = "sum"


def _codes_below(kind: type[PipelineError]) -> Iterator[str]:
    yield kind.code
    for child in kind.__subclasses__():
        yield from _codes_below(child)


_OURS_ALL_THE_SAME: Final = (DecodeTimeout, DeviceUnavailable, InputChanged, InputNotFound, InputUnreadable)
# A recording that was accepted was there, and could be read.

NOT_OURS: Final = frozenset(code for kind in (ConfigError, InputError) for code in _codes_below(kind)) - {
    kind.code for kind in _OURS_ALL_THE_SAME
}
"""Codes of failures that lie in the recording or in what was asked for: another service would fail, too."""


@dataclass(frozen=True, slots=True)
class Total:
    """Something that is counted.

    Attributes:
        name: Prometheus's, without ``_total``.
        help: what it is.
        label: what it is told apart by; None: nothing.
        known: values of the label that are shown before they occur, so that rates work from the first on.
        buckets: upper bounds, where values are counted by their size; empty: they are only added up.
    """

    name: str
    help: str
    label: str | None = None
    known: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Distribution:
    """How values are distributed.

    Attributes:
        counts: how many values are at most as large as each bound, the last of which is infinite.
        sum: of all values.
    """

    counts: tuple[tuple[float, float], ...]
    sum: float


_JOB_S: Final = (1, 2, 5, 10, 20, 30, 60, 120, 180, 300, 600, 1200, 1800, 3600, 7200)
_STAGE_S: Final = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_WAIT_S: Final = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200)

PROCESSED: Final = Total(
    "audio_processing", "Jobs that ended.", "status", tuple(status.value for status in ENDED)
)
FAILURES: Final = Total("audio_processing_failures", "Jobs that failed, by error code.", "code")
FAULTS: Final = Total(
    "audio_processing_faults",
    "Jobs that failed, by whose fault: recording stands for those that no service could have done.",
    "fault",
    ("recording", "service"),
)
STAGE_FAULTS: Final = Total(
    "audio_stage_faults", "Jobs that failed by the service's fault, by their last stage.", "stage", STAGES
)
RETRIES: Final = Total("audio_processing_retries", "Failed attempts to be repeated, by error code.", "code")
ABANDONED: Final = Total("audio_attempts_abandoned", "Attempts whose lease ran out: their worker was lost.")
HANDED_BACK: Final = Total("audio_attempts_handed_back", "Attempts that a stopping worker gave back.")
SLOW_STAGES: Final = Total(
    "audio_stage_slow", "Stages that took longer than PIPELINE_STAGE_WARN_S.", "stage", STAGES
)
SECONDS: Final = Total(
    "audio_processing_seconds", "Seconds that the last attempt of a job took.", buckets=_JOB_S
)
STAGE_SECONDS: Final = Total("audio_stage_seconds", "Seconds of a stage.", "stage", STAGES, _STAGE_S)
SPEED: Final = Total(
    "audio_real_time_factor",
    "Seconds of audio per second of processing.",
    buckets=(0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32),
)
WAIT_SECONDS: Final = Total(
    "audio_queue_wait_seconds", "Seconds from when a job could run to when it did.", buckets=_WAIT_S
)
WEBHOOKS: Final = Total(
    "audio_webhook_deliveries",
    "Attempts to deliver webhooks; disabled are also those that were not sent to a URL that answered 410.",
    "outcome",
    ("delivered", "retried", "failed", "disabled"),
)
NOTICES: Final = Total(
    "audio_notifications",
    "Attempts to tell operators; dropped are messages that were given up.",
    "outcome",
    ("sent", "retried", "dropped"),
)

TOTALS: Final = (
    PROCESSED, FAILURES, FAULTS, STAGE_FAULTS, RETRIES, ABANDONED, HANDED_BACK, SLOW_STAGES,
    SECONDS, STAGE_SECONDS, SPEED, WAIT_SECONDS, WEBHOOKS, NOTICES,
)  # fmt: skip
"""Everything that is counted here."""


def count(connection: Connection, total: Total, label: str = "", by: float = 1.0) -> None:
    """Count something.

    Args:
        connection: of a transaction that writes.
        total: what is counted.
        label: the value of its label; empty where it has none.
        by: how much.
    """
    _add(connection, total.name, label, "", by)


def observe(connection: Connection, total: Total, value: float, label: str = "") -> None:
    """Count a value by its size.

    Args:
        connection: of a transaction that writes.
        total: with buckets.
        value: at least 0.
        label: the value of the total's label; empty where it has none.
    """
    bounds = (*total.buckets, math.inf)
    _add(connection, total.name, label, repr(float(bounds[bisect_left(bounds, value)])), 1.0)
    _add(connection, total.name, label, _SUM, value)


def count_end(connection: Connection, job: Job) -> None:
    """Count a job that has just ended."""
    count(connection, PROCESSED, job.status.value)
    if job.status is JobStatus.FAILED and job.error is not None:
        count(connection, FAILURES, job.error.code)
        _count_fault(connection, job, job.error.code)
    for stage in job.stages:
        observe(connection, STAGE_SECONDS, stage.seconds, stage.name)
    # Workers time stages by a clock that is never set; the database's may be, and gives no lengths.
    took_s = sum(stage.seconds for stage in job.stages)
    if job.status is JobStatus.SUCCEEDED and took_s > 0.0:
        observe(connection, SECONDS, took_s)
        if job.duration_s:
            observe(connection, SPEED, job.duration_s / took_s)


def counted(connection: Connection, total: Total) -> dict[str, float]:
    """How much was counted, by label; of `Total.known` labels at least 0.

    Args:
        connection: of a transaction that reads.
        total: without buckets.
    """
    query = select(totals.c.label, totals.c.value).where(totals.c.name == total.name)
    found: dict[str, float] = dict.fromkeys(_shown(total), 0.0)
    return found | {label: value for label, value in connection.execute(query)}


def distributed(connection: Connection, total: Total) -> dict[str, Distribution]:
    """How the values were distributed, by label; of `Total.known` labels at least nothing.

    Args:
        connection: of a transaction that reads.
        total: with buckets.
    """
    bounds = (*(float(bound) for bound in total.buckets), math.inf)
    sums: dict[str, float] = defaultdict(float)
    sizes: dict[str, list[float]] = {label: [0.0] * len(bounds) for label in _shown(total)}
    query = select(totals.c.label, totals.c.bucket, totals.c.value).where(totals.c.name == total.name)
    for label, bucket, value in connection.execute(query):
        if bucket == _SUM:
            sums[label] = value
            continue
        # A version before this one may have had other bounds.
        sizes.setdefault(label, [0.0] * len(bounds))[bisect_left(bounds, float(bucket))] += value
    return {label: Distribution(_cumulated(bounds, counts), sums[label]) for label, counts in sizes.items()}


def _count_fault(connection: Connection, job: Job, code: str) -> None:
    if code in NOT_OURS:
        count(connection, FAULTS, "recording")
        return
    count(connection, FAULTS, "service")
    for stage in job.stages[-1:]:
        count(connection, STAGE_FAULTS, stage.name)


def _shown(total: Total) -> tuple[str, ...]:
    return ("",) if total.label is None else total.known


def _cumulated(bounds: tuple[float, ...], counts: list[float]) -> tuple[tuple[float, float], ...]:
    return tuple((bound, sum(counts[: n + 1])) for n, bound in enumerate(bounds))


def _add(connection: Connection, name: str, label: str, bucket: str, by: float) -> None:
    # There is one writer at a time, so that nobody inserts between the two.
    this = (totals.c.name == name, totals.c.label == label, totals.c.bucket == bucket)
    if not connection.execute(update(totals).where(*this).values(value=totals.c.value + by)).rowcount:
        connection.execute(insert(totals).values(name=name, label=label, bucket=bucket, value=by))
