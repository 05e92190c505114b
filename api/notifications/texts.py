"""What notices say. Pure: facts in, text out. No file name and no owner is in it: mail is read by many."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from api.notifications.model import Kind, Level, Notice

_SHOWN = 5
"""Jobs that are named of each code; a thousand more are a number."""

REASONS = {
    "no_worker": "no worker is alive",
    "disk_reserve": "less than PIPELINE_DISK_RESERVE_MB is free on a disk",
    "memory_reserve": "less than PIPELINE_MEMORY_RESERVE_MB of memory is free",
    "storage": "a folder is missing or may not be written",
    "queue_full": "as many jobs wait as may: PIPELINE_MAX_QUEUED",
}
"""Why no work is taken, in plain words."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A job that failed.

    Attributes:
        job_id: its id.
        code: of its error.
        message: of its error.
        stage: that it failed in; None before the first.
    """

    job_id: str
    code: str
    message: str
    stage: str | None


@dataclass(frozen=True, slots=True)
class DaySummary:
    """What happened within a day.

    Attributes:
        ended: number of jobs, by how they ended.
        failures: number of failures, by code.
        audio_s: seconds of recordings that were taken apart.
        queued: jobs that wait now.
        disk_free: share of the fullest disk that is free.
        backup_age_s: seconds since the last backup; None: there was none.
    """

    ended: dict[str, int]
    failures: dict[str, int] = field(default_factory=dict)
    audio_s: float = 0.0
    queued: int = 0
    disk_free: float = 1.0
    backup_age_s: float | None = None


def failures_notice(failures: Sequence[Failure], interval_s: float) -> Notice:
    """Tell of jobs that failed: one message, however many they are."""
    by_code: dict[str, list[Failure]] = defaultdict(list)
    for failure in failures:
        by_code[failure.code].append(failure)
    lines = []
    for code, group in sorted(by_code.items(), key=lambda item: -len(item[1])):
        stages = sorted({failure.stage for failure in group if failure.stage})
        where = f" in {', '.join(stages)}" if stages else ""
        lines.append(f"{len(group)} x {code}{where}: {group[-1].message}")
        lines += [f"    job {failure.job_id}" for failure in group[:_SHOWN]]
        if len(group) > _SHOWN:
            lines.append(f"    and {len(group) - _SHOWN} more")
    lines += ["", f"Failures of the next {interval_s / 60:.0f} minutes come in one message."]
    codes = ", ".join(by_code) if len(by_code) <= 3 else f"{len(by_code)} causes"
    number = "A job" if len(failures) == 1 else f"{len(failures)} jobs"
    return Notice(
        Kind.FAILURES, Level.FAILURE, f"Audio Pipeline: {number} failed ({codes})", "\n".join(lines)
    )


def summary_notice(day: DaySummary) -> Notice:
    """Tell of a day."""
    done, failed = day.ended.get("succeeded", 0), day.ended.get("failed", 0)
    lines = [
        f"Jobs that succeeded: {done} ({day.audio_s / 3600:.1f} hours of audio)",
        f"Jobs that failed: {failed}",
        *(f"    {number} x {code}" for code, number in sorted(day.failures.items(), key=lambda i: -i[1])),
        f"Jobs that were cancelled: {day.ended.get('cancelled', 0)}",
        f"Jobs that wait now: {day.queued}",
        f"Free on the fullest disk: {day.disk_free:.0%}",
        "Last backup: none yet"
        if day.backup_age_s is None
        else f"Last backup: {day.backup_age_s / 3600:.0f} hours ago",
    ]
    level = Level.WARNING if failed else Level.INFO
    return Notice(
        Kind.SUMMARY,
        level,
        f"Audio Pipeline: {done} jobs done, {failed} failed within a day",
        "\n".join(lines),
    )


def closed_notice(reasons: Sequence[str], host: str) -> Notice:
    """Tell that no work is taken any more."""
    lines = [f"{reason}: {REASONS.get(reason, reason)}." for reason in reasons]
    body = "\n".join([f"On {host} submissions are refused or wait, because:", *lines])
    title = f"Audio Pipeline takes no work: {', '.join(reasons)}"
    return Notice(Kind.ADMISSION, Level.WARNING, title, body)


def opened_notice(host: str, closed_s: float) -> Notice:
    """Tell that work is taken again."""
    body = f"On {host} submissions were refused, or waited, for {closed_s / 60:.0f} minutes."
    return Notice(Kind.ADMISSION, Level.SUCCESS, "Audio Pipeline takes work again", body)
