"""Wire types for who looks after the service: keys, queue, disks, audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from api.schemas import JobBody, Wire

ScopeName = Literal["submit", "read", "admin", "metrics"]


class KeyBody(Wire):
    """What is known of an API key; not the key itself, which nobody has stored."""

    id: str
    name: str
    owner: str
    begins: str = Field(description="Its first characters; empty for one that a person chose.")
    scopes: list[str]
    jobs_per_day: int | None
    audio_s_per_month: float | None
    max_priority: int
    retention_days: int | None = Field(description="Of its jobs' audio; 0: for ever; null: the service's.")
    state: Literal["valid", "revoked", "expired"]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")


class KeyRequest(Wire):
    """A key that is to be made."""

    name: str = Field(max_length=64, description="To recognise it by.")
    owner: str | None = Field(default=None, max_length=64, description="Whose jobs it sees; else the name.")
    scopes: list[ScopeName] = Field(
        default=["submit", "read"], max_length=4, description="None that your own key lacks."
    )
    jobs_per_day: int | None = Field(default=None, ge=1, le=1_000_000)
    audio_s_per_month: float | None = Field(default=None, gt=0, le=1e9)
    max_priority: int = Field(default=0, ge=0, le=9, description="Not above your own key's.")
    retention_days: int | None = Field(
        default=None, ge=0, le=36500, description="Of its jobs' audio once they ended; 0: for ever."
    )
    expires_days: float | None = Field(default=None, gt=0, le=36500)


class NewKeyBody(Wire):
    """A key that was made."""

    key: str = Field(description="It cannot be had again.")
    about: KeyBody


class HoldRequest(Wire):
    """A legal hold that is to be placed."""

    kind: Literal["job", "owner"]
    target: str = Field(min_length=1, max_length=128, description="Id of the job, or name of the owner.")
    reason: str = Field(min_length=1, max_length=1000, description="Such as the number of a case.")


class HoldBody(Wire):
    """A legal hold: nothing that it is on can be deleted."""

    id: str
    kind: Literal["job", "owner"]
    target: str
    reason: str
    placed_by: str
    placed_at: datetime
    released_at: datetime | None


class ErasureRequest(Wire):
    """What is to be erased."""

    by: Literal["job", "owner", "subject"]
    value: str = Field(min_length=1, max_length=128, description="Id of the job, or name.")


class QueuedBody(Wire):
    """A job that waits or runs, and whose it is."""

    owner: str
    job: JobBody


class DiskBody(Wire):
    """A disk that the service uses."""

    holds: list[Literal["data", "uploads", "outputs", "downloads", "logs"]]
    bytes: int
    free_bytes: int
    reserve_bytes: int = Field(description="Stays free: work that would use it is refused.")


class AuditBody(Wire):
    """An entry of the audit log."""

    seq: int = Field(description="1, 2, 3 … without a gap.")
    at: datetime
    user: str
    key_id: str
    action: str
    input: str
    output: str
    status: str
    job_id: str
    request_id: str
    address: str


class VerdictBody(Wire):
    """Whether the audit log is whole."""

    entries: int = Field(description="That were read, up to the broken link.")
    head: str = Field(description="Where it ends: noted elsewhere, it proves later that nothing was cut off.")
    broken_at: int | None = Field(description="The first entry that is wrong or missing; null: all is well.")
    reason: str
