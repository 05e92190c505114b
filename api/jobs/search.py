"""Which jobs a filter lets through: by the database, or where it holds words encrypted, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol

from sqlalchemy import Text, or_, type_coerce
from sqlalchemy.sql.elements import ColumnElement

from api.jobs.model import Job
from api.jobs.rows import fold, time_of
from api.jobs.store import JobFilter
from api.jobs.tables import jobs

_PAGE: Final = 200


class Find(Protocol):
    """Lists jobs, newest first."""

    def __call__(self, wanted: JobFilter, *, after: str | None = None, limit: int = 50) -> Sequence[Job]:
        """See `api.jobs.store.JobStore.find`."""
        ...


def conditions(wanted: JobFilter) -> list[ColumnElement[bool]]:
    """What a database compares."""
    found: list[ColumnElement[bool]] = []
    if wanted.owner is not None:
        found.append(jobs.c.owner == wanted.owner)
    if wanted.statuses is not None:
        found.append(jobs.c.status.in_(wanted.statuses))
    if wanted.text is not None:
        found.append(jobs.c.filename_folded.contains(fold(wanted.text), autoescape=True))
    if wanted.subject is not None:
        plain = type_coerce(jobs.c.subject, Text) == wanted.subject  # From before there was encryption.
        found.append(or_(jobs.c.subject == wanted.subject, plain))
    if wanted.since is not None:
        found.append(jobs.c.created_at >= time_of(wanted.since))
    if wanted.until is not None:
        found.append(jobs.c.created_at < time_of(wanted.until))
    return found


def search(find: Find, wanted: JobFilter, after: str | None, limit: int) -> list[Job]:
    """Look through the names of all jobs that else fit: no database finds a part of an encrypted text.

    Args:
        find: lists jobs.
        wanted: with a text.
        after: id of the job after which to begin.
        limit: at most so many.
    """
    text, others = fold(wanted.text or ""), replace(wanted, text=None)
    found: list[Job] = []
    while page := find(others, after=after, limit=_PAGE):
        found += [job for job in page if text in fold(job.filename)]
        if len(found) >= limit or len(page) < _PAGE:
            break
        after = page[-1].id
    return found[:limit]
