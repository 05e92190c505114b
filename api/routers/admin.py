"""Looking after the service: keys, queue, disks, audit log. Every route needs the scope admin."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from api.audit_trail import note
from api.bodies import job_body
from api.dependencies import PrincipalDep, Services, ServicesDep
from api.errors import Conflict, Forbidden, InvalidRequest, LegalHold, NotFound
from api.jobs.model import JobStatus
from api.jobs.store import JobFilter, every_job
from api.keeping.holds import Hold
from api.problems import refusals
from api.schemas_admin import (
    AuditBody,
    DiskBody,
    ErasureRequest,
    HoldBody,
    HoldRequest,
    KeyBody,
    KeyRequest,
    NewKeyBody,
    QueuedBody,
    VerdictBody,
)
from api.security.principal import ApiKey, Quota, Scope
from api.settings import MIB

router = APIRouter(prefix="/admin", tags=["admin"])


@router.get("/keys")
def list_keys(services: ServicesDep, _principal: PrincipalDep) -> list[KeyBody]:
    """Every API key, oldest first; revoked and expired ones too."""
    return [_key_body(key) for key in services.keys.find()]


@router.post("/keys", status_code=201, responses=refusals(InvalidRequest))
def create_key(
    wanted: KeyRequest, request: Request, services: ServicesDep, principal: PrincipalDep
) -> NewKeyBody:
    """Make a key. No key makes one that may do more than itself."""
    scopes = frozenset(Scope(scope) for scope in wanted.scopes)
    if scopes - principal.scopes:
        lacking = ", ".join(sorted(scopes - principal.scopes))
        raise Forbidden(f"Your own key lacks {lacking}.", "Leave that out, or use a key that has it.")
    if wanted.max_priority > principal.max_priority:
        raise Forbidden(
            f"Your own key goes up to priority {principal.max_priority}.",
            "Ask for no more, or use a key that may.",
        )
    made, key = services.keys.create(
        wanted.name,
        owner=wanted.owner,
        scopes=scopes,
        quota=Quota(wanted.jobs_per_day, wanted.audio_s_per_month),
        max_priority=wanted.max_priority,
        retention_days=wanted.retention_days,
        expires_days=wanted.expires_days,
    )
    note(request, input=f"{made.name} for {made.owner}: {','.join(sorted(made.scopes))}", output=made.id)
    return NewKeyBody(key=key, about=_key_body(made))


@router.delete("/keys/{key_id}", responses=refusals(InvalidRequest, NotFound, Conflict))
def revoke_key(key_id: str, request: Request, services: ServicesDep, principal: PrincipalDep) -> KeyBody:
    """Refuse a key from now on, in every process."""
    if key_id == principal.key_id:
        raise Conflict("This is the key that you use.", "Revoke it with another one.")
    revoked = services.keys.revoke(key_id)
    note(request, input=revoked.id, output=revoked.name)
    return _key_body(revoked)


@router.get("/queue")
def queue(services: ServicesDep, _principal: PrincipalDep) -> list[QueuedBody]:
    """The jobs of every owner that run or wait: running ones first, then as they will be taken."""
    active = JobFilter(statuses=(JobStatus.QUEUED, JobStatus.RUNNING))
    found = [
        QueuedBody(owner=job.owner, job=job_body(job, services.store, services.outlook))
        for job in every_job(services.store, active)
    ]
    return sorted(found, key=lambda entry: (entry.job.queue_position or -1, entry.job.created_at))


@router.get("/disks")
def disks(services: ServicesDep, _principal: PrincipalDep) -> list[DiskBody]:
    """How full each disk is that the service uses."""
    return list(_disks(services))


@router.get("/audit")
def audit_entries(
    services: ServicesDep,
    _principal: PrincipalDep,
    before: Annotated[int | None, Query(ge=1, description="Number of the entry after the last.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> list[AuditBody]:
    """The latest entries of the audit log, newest first."""
    return [
        AuditBody(
            seq=entry.seq,
            at=datetime.fromisoformat(entry.at),
            user=entry.user,
            key_id=entry.key_id,
            action=entry.action,
            input=entry.input,
            output=entry.output,
            status=entry.status,
            job_id=entry.job_id,
            request_id=entry.request_id,
            address=entry.address,
        )
        for entry in services.audit.latest(limit, before)
    ]


@router.get("/audit/verify", responses=refusals(InvalidRequest))
def verify_audit(
    services: ServicesDep,
    _principal: PrincipalDep,
    head: Annotated[
        str | None, Query(max_length=100, description="Where the log ended when it was last verified.")
    ] = None,
) -> VerdictBody:
    """Recompute the chain of the audit log."""
    verdict = services.audit.verify(head)
    return VerdictBody(
        entries=verdict.entries, head=verdict.head, broken_at=verdict.broken_at, reason=verdict.reason
    )


@router.get("/holds")
def list_holds(
    services: ServicesDep,
    _principal: PrincipalDep,
    released: Annotated[bool, Query(description="Those that have ended, too.")] = False,
) -> list[HoldBody]:
    """The legal holds, oldest first."""
    return [_hold_body(hold) for hold in services.holds.find(released=released)]


@router.post("/holds", status_code=201, responses=refusals(InvalidRequest))
def place_hold(
    wanted: HoldRequest, request: Request, services: ServicesDep, principal: PrincipalDep
) -> HoldBody:
    """Let nothing of a job, or of all jobs of an owner, be deleted: not by age, and by nobody's wish."""
    hold = services.holds.place(wanted.kind, wanted.target, wanted.reason, principal.owner)
    note(request, input=f"{hold.kind} {hold.target}", output=hold.id)
    return _hold_body(hold)


@router.delete("/holds/{hold_id}", responses=refusals(NotFound))
def release_hold(hold_id: str, request: Request, services: ServicesDep, _principal: PrincipalDep) -> HoldBody:
    """End a hold."""
    hold = services.holds.release(hold_id)
    note(request, input=hold.id, output=f"{hold.kind} {hold.target}")
    return _hold_body(hold)


@router.post("/erasures", status_code=201, responses=refusals(InvalidRequest, NotFound, Conflict, LegalHold))
def erase(
    wanted: ErasureRequest, request: Request, services: ServicesDep, principal: PrincipalDep
) -> dict[str, Any]:
    """Erase everything of a job, an owner or a subject; backups follow with the next one.

    Answers with the signed receipt.
    """
    receipt = services.eraser.erase(services.eraser.select(wanted.by, wanted.value), principal.owner)
    note(request, input=f"by {wanted.by}", output=f"receipt {receipt['id']}")
    return receipt


def _hold_body(hold: Hold) -> HoldBody:
    return HoldBody.model_validate(asdict(hold))


def _key_body(key: ApiKey) -> KeyBody:
    return KeyBody(
        id=key.id,
        name=key.name,
        owner=key.owner,
        begins=key.shown,
        scopes=sorted(key.scopes),
        jobs_per_day=key.quota.jobs_per_day,
        audio_s_per_month=key.quota.audio_s_per_month,
        max_priority=key.max_priority,
        retention_days=key.retention_days,
        state=key.state(datetime.now(UTC)),
        created_at=key.created_at,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
    )


def _disks(services: Services) -> Iterator[DiskBody]:
    names = ("data", "uploads", "outputs", "downloads", "logs")
    paths = {name: getattr(services.folders, name) for name in names}
    by_device: dict[int, list[str]] = {}
    for name, path in paths.items():
        by_device.setdefault(os.stat(path).st_dev, []).append(name)
    for held in by_device.values():
        usage = shutil.disk_usage(paths[held[0]])
        yield DiskBody.model_validate(
            {
                "holds": held,
                "bytes": usage.total,
                "free_bytes": usage.free,
                "reserve_bytes": services.settings.disk_reserve_mb * MIB,
            }
        )
