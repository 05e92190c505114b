"""What an owner has used, and what a job would cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from api.errors import QuotaExceeded
from api.jobs.capacity import USUAL_RATE, predict_room
from api.jobs.model import JobStatus
from api.jobs.speed import predict_s
from api.jobs.store import JobFilter, JobStore, every_job
from pipeline.codec.probe import Probe
from pipeline.config import PipelineConfig

_DAY: Final = timedelta(days=1)
_MONTH: Final = timedelta(days=30)
_RECENT: Final = 50
"""Finished jobs that are looked at for the speed of this machine."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What an owner has used.

    Attributes:
        jobs_last_day: jobs accepted within 24 hours.
        audio_s_last_month: seconds of recordings accepted within 30 days.
    """

    jobs_last_day: int
    audio_s_last_month: float


def usage_of(store: JobStore, owner: str, now: datetime) -> Usage:
    """Add up an owner's jobs."""
    jobs = list(every_job(store, JobFilter(owner=owner, since=now - _MONTH)))
    return Usage(
        jobs_last_day=sum(job.created_at >= now - _DAY for job in jobs),
        audio_s_last_month=sum(job.duration_s or 0.0 for job in jobs),
    )


def check_quota(
    store: JobStore,
    owner: str,
    duration_s: float,
    *,
    jobs_per_day: int | None,
    audio_s_per_month: float | None,
) -> None:
    """Refuse a job that would exceed what its key was given.

    Args:
        store: the jobs.
        owner: whose job it is.
        duration_s: of the recording, as its header claims.
        jobs_per_day: None: any number.
        audio_s_per_month: seconds; None: any number.

    Raises:
        QuotaExceeded: it would.
    """
    if jobs_per_day is None and audio_s_per_month is None:
        return
    used = usage_of(store, owner, datetime.now(UTC))
    if jobs_per_day is not None and used.jobs_last_day >= jobs_per_day:
        raise QuotaExceeded(
            f"This key may submit {jobs_per_day} jobs a day.", "Try again later.", retry_after_s=3600
        )
    if audio_s_per_month is not None and used.audio_s_last_month + duration_s > audio_s_per_month:
        raise QuotaExceeded(
            f"This key may submit {audio_s_per_month / 60:.0f} minutes of audio a month.",
            "Try again later, or submit less.",
            retry_after_s=86400,
        )


@dataclass(frozen=True, slots=True)
class Cost:
    """What a job would take.

    Attributes:
        seconds: of work, once it runs.
        wait_s: until it would run, with the jobs that are before it.
        result_bytes: of what it would publish.
        measured: whether the speed was seen on this service, or is a first guess.
    """

    seconds: float
    wait_s: float
    result_bytes: int
    measured: bool


def estimate_cost(
    store: JobStore, duration_s: float, config: PipelineConfig, defaults: PipelineConfig, workers: int
) -> Cost:
    """Predict what a job would take, from the speed of jobs like it.

    Args:
        store: the jobs.
        duration_s: of the recording.
        config: what is to be done.
        defaults: of jobs that do not say otherwise.
        workers: jobs that run at the same time.
    """
    done = store.find(JobFilter(statuses=(JobStatus.SUCCEEDED,)), limit=_RECENT)
    seconds, measured = predict_s(duration_s, config.model_dump(), done, defaults)
    waiting = list(every_job(store, JobFilter(statuses=(JobStatus.QUEUED, JobStatus.RUNNING))))
    ahead_s = sum(
        predict_s(job.duration_s or 0.0, job.options, done, defaults)[0] * (1.0 - job.progress)
        for job in waiting
    )
    # 44.1 kHz stereo at CD quality: for what a header would say, were there one.
    probe = Probe("", "", USUAL_RATE, 2, ("FL", "FR"), duration_s)
    room = predict_room(int(duration_s * USUAL_RATE * 4), probe, config)
    return Cost(
        seconds=round(seconds, 1),
        wait_s=round(ahead_s / max(workers, 1), 1),
        result_bytes=room.result,
        measured=measured,
    )
