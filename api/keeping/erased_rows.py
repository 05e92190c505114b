"""Erases what a database says of jobs and owners: the service's own, a restored one, the copy in a backup."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Engine, delete, exists, insert, or_, select, update

from api.batches import store as batch_store
from api.batches.tables import batches
from api.jobs.model import JobStatus
from api.jobs.rows import time_of
from api.jobs.tables import idempotency_keys, job_events, jobs
from api.keeping.audit_words import forget_words
from api.keeping.tables import legal_holds
from api.keeping.tombstones import Tombstone
from api.security.secret import ServerSecret
from api.security.tables import api_keys, audit_log
from api.transactions import reading, writing
from api.webhooks import outbox
from api.webhooks.tables import webhook_secrets

_NO_SUM = "0" * 64
_TOLD = {"status": "erased", "attempt": 0, "progress": 0.0, "stage": None, "eta_s": None}


def owner_id(secret: ServerSecret, owner: str) -> str:
    """What an owner's tombstone is found by: nobody without the server's secret can tell whose it is."""
    return "owner-" + hmac.digest(secret.key("erasure"), owner.encode(), hashlib.sha256).hex()[:32]


def is_owner(engine: Engine, name: str) -> bool:
    """Whether a database knows an owner of jobs or keys by that name."""
    with reading(engine) as connection:
        columns = (jobs.c.owner, api_keys.c.owner)
        return any(connection.scalar(select(exists().where(column == name))) for column in columns)


def erase_rows(engine: Engine, tombstones: Iterable[Tombstone], secret: ServerSecret | None) -> int:
    """Erase what rows say of jobs and owners; of a row that was erased already nothing changes.

    Args:
        engine: of a database whose tables are up to date.
        tombstones: of what.
        secret: the server's, by which owners are found; None: only jobs are.

    Returns:
        How many jobs and owners had something to be erased.

    Raises:
        DatabaseUnavailable: the database is busy, out of reach or damaged.
        DiskFull: no space left.
    """
    count = 0
    for tombstone in tombstones:
        with writing(engine) as connection:
            if tombstone.kind == "job":
                count += _erase_job(connection, tombstone)
            elif secret is not None:
                count += _erase_owner(connection, tombstone, secret)
    return count


def _erase_job(connection: Connection, tombstone: Tombstone) -> bool:
    job_id = tombstone.id
    row = connection.execute(select(jobs).where(jobs.c.id == job_id)).one_or_none()
    forget_words(connection, audit_log.c.job_id == job_id, who=tombstone.pseudonym is not None)
    batch_store.erase_job(connection, job_id)
    if row is None:
        return False
    before = row.input_sha256 == _NO_SUM and row.status is JobStatus.ERASED
    at = time_of(tombstone.erased_at)
    nothing: dict[str, Any] = {
        "status": JobStatus.ERASED, "filename": "", "filename_folded": "", "metadata": {}, "subject": None,
        "webhook_url": None, "input_path": None, "input_sha256": _NO_SUM, "content_key": None, "error": None,
        "lease_until": None, "leased_at": None, "not_before": None, "worker": None,
        "finished_at": row.finished_at or at,
    }  # fmt: skip
    if tombstone.pseudonym is not None:
        nothing["owner"] = tombstone.pseudonym
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(nothing))
    connection.execute(delete(job_events).where(job_events.c.job_id == job_id))
    # Whoever listens is told.
    connection.execute(insert(job_events).values(job_id=job_id, kind="erased", data=_TOLD, at=at))
    answered = or_(idempotency_keys.c.job_id == job_id, idempotency_keys.c.body == job_id.encode())
    connection.execute(delete(idempotency_keys).where(answered))
    outbox.erase(connection, job_id)
    return not before


def _erase_owner(connection: Connection, tombstone: Tombstone, secret: ServerSecret) -> bool:
    names: set[str] = set()
    for column in (jobs.c.owner, api_keys.c.owner, audit_log.c.user, idempotency_keys.c.owner,
                   webhook_secrets.c.owner, legal_holds.c.target, batches.c.owner):  # fmt: skip
        names |= set(connection.scalars(select(column).distinct()))
    found = [name for name in names if owner_id(secret, name) == tombstone.id]
    for name in found:
        gone, at = tombstone.pseudonym or "erased", time_of(tombstone.erased_at)
        forget_words(connection, audit_log.c.user == name, who=True)
        # What administrators did with its keys and holds names it too.
        about = or_(audit_log.c.action.startswith("key."), audit_log.c.action.startswith("hold."))
        for words in (audit_log.c.input, audit_log.c.output):
            forget_words(connection, about & words.contains(name, autoescape=True))
        connection.execute(update(jobs).where(jobs.c.owner == name).values(owner=gone))
        connection.execute(
            update(api_keys)
            .where(api_keys.c.owner == name)
            .values(owner=gone, name="erased", shown="", revoked_at=at)
        )
        connection.execute(delete(idempotency_keys).where(idempotency_keys.c.owner == name))
        batch_store.erase_owner(connection, name)
        connection.execute(delete(webhook_secrets).where(webhook_secrets.c.owner == name))
        held = (legal_holds.c.kind == "owner") & (legal_holds.c.target == name)
        connection.execute(update(legal_holds).where(held).values(target=gone, reason=""))
    return bool(found)
