"""What an owner has used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from api.errors import QuotaExceeded
from api.jobs.store import JobFilter, JobStore, every_job

_DAY: Final = timedelta(days=1)
_MONTH: Final = timedelta(days=30)


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
