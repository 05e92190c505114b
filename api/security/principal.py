"""Who makes a request, and what an API key may do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal


class Scope(StrEnum):
    """What a key may do."""

    SUBMIT = "submit"  # hand in recordings; cancel, retry and delete jobs
    READ = "read"  # see jobs, fetch their artifacts
    ADMIN = "admin"  # look after the service
    METRICS = "metrics"  # scrape /metrics


ALL_SCOPES = frozenset(Scope)

HIGHEST_PRIORITY = 9
"""Of any job: what `api.schemas.Submission` takes. The service's own keys may ask for it."""


@dataclass(frozen=True, slots=True)
class Quota:
    """How much a key may use; None is any amount.

    Attributes:
        jobs_per_day: jobs accepted within 24 hours.
        audio_s_per_month: seconds of recordings accepted within 30 days.
    """

    jobs_per_day: int | None = None
    audio_s_per_month: float | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request.

    Attributes:
        key_id: id of the API key.
        owner: whose jobs it sees: what `Job.owner` holds.
        scopes: what it may do.
        quota: how much it may use.
        max_priority: the highest that it may ask for, 0 to `HIGHEST_PRIORITY`.
        retention_days: days for which its jobs' audio is kept, 0 for ever; None: the service's.
    """

    key_id: str
    owner: str
    scopes: frozenset[Scope]
    quota: Quota = Quota()
    max_priority: int = 0
    retention_days: int | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key.

    Attributes:
        id: ours.
        name: the operator's.
        owner: whose jobs it sees.
        source: ``cli``, ``first`` or ``setting``.
        shown: its first characters.
        scopes: what it may do.
        quota: how much it may use.
        max_priority: the highest that it may ask for.
        retention_days: days for which its jobs' audio is kept, 0 for ever; None: the service's.
        created_at: when it was made.
        expires_at: from when on it is refused; None: never.
        revoked_at: when it was revoked; None: it was not.
        last_used_at: when it was last seen, to the minute; None: never.
    """

    id: str
    name: str
    owner: str
    source: str
    shown: str
    scopes: frozenset[Scope]
    created_at: datetime
    quota: Quota = Quota()
    max_priority: int = 0
    retention_days: int | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def state(self, now: datetime) -> Literal["valid", "revoked", "expired"]:
        """Whether it opens anything."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"

    @property
    def principal(self) -> Principal:
        """Who makes a request with it."""
        return Principal(self.id, self.owner, self.scopes, self.quota, self.max_priority, self.retention_days)
