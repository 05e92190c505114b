"""What whoever looks after the service wants to know: health, errors, disks, capacity, cost."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any, Final

from api.audit import Audit
from api.jobs.model import Job, JobStatus
from api.jobs.retention import size_of
from api.jobs.store import JobFilter, every_job
from api.jobs.workers import WorkerRegister
from api.keeping.holdings import Holdings
from api.transactions import check_pages
from pipeline.errors import PipelineError

Report = dict[str, Any]

_DAY_S: Final = 86400.0
_USED: Final = frozenset({"download", "listen"})
_LEVELS: Final = frozenset({"error", "critical"})
_MOST_LINES: Final = 20


def health(holdings: Holdings, audit: Audit, now: datetime, *, backup_stale_s: float) -> Report:
    """Whether everything is as it should be, and what is not.

    Args:
        holdings: what the service holds.
        audit: its audit log.
        now: the time.
        backup_stale_s: age at which the last backup is too old.
    """
    wrong: list[str] = []
    for what, check in (
        ("folders", holdings.folders.check),
        ("database", lambda: check_pages(holdings.engine)),
    ):
        try:
            check()
        except PipelineError as exc:
            wrong.append(f"{what}: {exc.message}")
    verdict = audit.verify()
    if verdict.broken_at is not None:
        wrong.append(f"audit log: broken at {verdict.broken_at}: {verdict.reason}")
    backup = status(holdings.folders.data / "backup-status.json")
    age_s = None if backup is None else now.timestamp() - backup["finished_at"]
    if age_s is None or age_s > backup_stale_s:
        wrong.append("backup: there is none" if age_s is None else f"backup: {age_s / 3600:.0f} hours old")
    drill = status(holdings.folders.data / "drill-status.json")
    if drill is not None and not drill["passed"]:
        wrong.append("drill: the last one failed")
    workers = WorkerRegister(holdings.engine).alive()
    counts = holdings.store.counts((JobStatus.QUEUED, JobStatus.RUNNING))
    if not workers and counts[JobStatus.QUEUED]:
        wrong.append("workers: there is none, and jobs wait")
    return {
        "ok": not wrong,
        "wrong": wrong,
        "workers": len(workers),
        "queued": counts[JobStatus.QUEUED],
        "running": counts[JobStatus.RUNNING],
        "audit_entries": verdict.entries,
        "audit_head": verdict.head,
        "backup_age_s": None if age_s is None else round(age_s),
        "drill": drill,
    }


def errors(holdings: Holdings, now: datetime, days: int) -> Report:
    """Why jobs failed, and what was logged as an error.

    Args:
        holdings: what the service holds.
        now: the time.
        days: how far back.
    """
    since = now - timedelta(days=days)
    failed = [job for job in _recent(holdings, since) if job.status is JobStatus.FAILED and job.error]
    codes = Counter(job.error.code for job in failed if job.error)
    logged: Counter[str] = Counter()
    for path in sorted(holdings.folders.logs.glob("*.log*")):
        if path.stat().st_mtime >= since.timestamp():
            logged.update(_errors_in(path, since))
    return {
        "days": days,
        "failed_jobs": dict(codes.most_common()),
        "latest": [{"job_id": job.id, "code": job.error and job.error.code} for job in failed[:_MOST_LINES]],
        "logged": dict(logged.most_common(_MOST_LINES)),
    }


def disk(holdings: Holdings, now: datetime, days: int, *, reserve: int, kept: timedelta | None) -> Report:
    """How full the disks are, with what, and when they will be full.

    Args:
        holdings: what the service holds.
        now: the time.
        days: from how many of the last days growth is reckoned.
        reserve: bytes that must stay free.
        kept: for how long audio is kept; None: for ever.
    """
    folders = holdings.folders
    parts = {
        "recordings": folders.uploads,
        "results": folders.outputs,
        "separations": folders.separations,
        "listening": folders.listening_root,
        "peaks": folders.peaks_root,
        "checkpoints": folders.checkpoints,
        "logs": folders.logs,
    }
    usage = shutil.disk_usage(folders.outputs)
    recent = list(_recent(holdings, now - timedelta(days=days)))
    a_day = sum(size_of(folders, job.id) for job in recent) / days
    room = max(usage.free - reserve, 0)
    until_full = room / a_day if a_day else None
    # With a retention it grows until as much goes as comes.
    settles = kept is not None and (until_full is None or a_day * kept.total_seconds() / _DAY_S < room)
    return {
        "bytes": usage.total,
        "free_bytes": usage.free,
        "used_percent": round(100 * usage.used / usage.total, 1),
        "holds": {name: _size(path) for name, path in parts.items()},
        "bytes_a_day": round(a_day),
        "days_until_full": None if settles or until_full is None else round(until_full, 1),
    }


def capacity(holdings: Holdings, now: datetime, days: int, workers: int) -> Report:
    """How much work there is, how long it waits, and how many workers it needs.

    Args:
        holdings: what the service holds.
        now: the time.
        days: how far back.
        workers: that there are.
    """
    jobs = [job for job in _recent(holdings, now - timedelta(days=days)) if job.started_at]
    busy_s = sum(_ran_s(job) for job in jobs)
    waits = sorted((job.started_at - job.created_at).total_seconds() for job in jobs if job.started_at)
    hours = Counter(job.created_at.strftime("%Y-%m-%d %H") for job in jobs)
    peak = max(hours.values(), default=0)
    a_job_s = busy_s / len(jobs) if jobs else 0.0
    return {
        "days": days,
        "jobs": len(jobs),
        "audio_hours": round(sum(job.duration_s or 0.0 for job in jobs) / 3600, 2),
        "seconds_a_job": round(a_job_s, 1),
        "wait_median_s": round(_quantile(waits, 0.5), 1),
        "wait_p95_s": round(_quantile(waits, 0.95), 1),
        "workers": workers,
        "busy_percent": round(100 * busy_s / (max(workers, 1) * days * _DAY_S), 2),
        "busiest_hour_jobs": peak,
        "workers_for_the_busiest_hour": ceil(peak * a_job_s / 3600) if peak else 0,
    }


def cost(holdings: Holdings, audit: Audit, now: datetime, days: int, workers: int, price: float) -> Report:
    """What could be saved: workers that have nothing to do, caches, audio that nobody has used for long.

    Args:
        holdings: what the service holds.
        audit: its audit log, which tells what was downloaded and listened to.
        now: the time.
        days: after how many without use audio is a candidate.
        workers: that there are.
        price: of a GB (10^9 bytes) and month.
    """
    used = {
        entry.job_id
        for entry in audit.entries()
        if entry.action in _USED and datetime.fromisoformat(entry.at) > now - timedelta(days=days)
    }
    idle = []
    for job in every_job(holdings.store, JobFilter(statuses=(JobStatus.SUCCEEDED,))):
        old = job.finished_at is not None and job.finished_at < now - timedelta(days=days)
        if old and job.id not in used:
            idle.append((size_of(holdings.folders, job.id), job.id))
    folders = holdings.folders
    caches = sum(map(_size, (folders.separations, folders.listening_root, folders.peaks_root)))
    temporary = sum(map(_size, (folders.downloads, folders.attempts, folders.checkpoints)))
    needed = capacity(holdings, now, days, workers)
    idle_bytes = sum(size for size, _ in idle)
    return {
        "days": days,
        "busy_percent": needed["busy_percent"],
        "workers": workers,
        "workers_needed": max(needed["workers_for_the_busiest_hour"], 1),
        "archive_candidates": len(idle),
        "archive_bytes": idle_bytes,
        "archive_saves_a_month": round(idle_bytes / 1e9 * price, 2),
        "largest": [{"job_id": job_id, "bytes": size} for size, job_id in sorted(idle, reverse=True)[:10]],
        "cache_bytes": caches,
        "temporary_bytes": temporary,
    }


def status(path: Path) -> Mapping[str, Any] | None:
    """A status file; None where there is none, or no whole one."""
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) and "finished_at" in said else None


def _recent(holdings: Holdings, since: datetime) -> Iterable[Job]:
    return every_job(holdings.store, JobFilter(since=since))


def _ran_s(job: Job) -> float:
    if job.finished_at is None or job.started_at is None:
        return 0.0
    return (job.finished_at - job.started_at).total_seconds()


def _errors_in(path: Path, since: datetime) -> Iterable[str]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                said = json.loads(line)
                at = datetime.fromisoformat(said["at"])
            except (ValueError, KeyError, TypeError):
                continue
            if said.get("level") in _LEVELS and at.replace(tzinfo=at.tzinfo or UTC) >= since:
                yield str(said.get("action") or said.get("event"))[:100]


def _quantile(values: Sequence[float], share: float) -> float:
    return values[min(int(len(values) * share), len(values) - 1)] if values else 0.0


def _size(folder: Path) -> int:
    return sum(map(_file_size, folder.rglob("*"))) if folder.is_dir() else 0


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() and not path.is_symlink() else 0
    except OSError:
        return 0
