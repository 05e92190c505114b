"""The batch: many recordings submitted by one call, and what has become of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from api.jobs.model import Job, JobError


class ItemState(StrEnum):
    """Where an item is on its way to a job."""

    WAITING = "waiting"  # its recording is still to be fetched, or there is no room for a job now
    TAKEN = "taken"  # there is a job
    REFUSED = "refused"  # `error` says why
    CANCELLED = "cancelled"  # the batch was cancelled first


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item that was just sent.

    Attributes:
        source: what it is called to its owner: never the query of a URL, which may be a secret.
        submission: of `api.schemas_batches.BatchItem`, as JSON; None where it is refused.
        subject: whom the recording is about.
        place: the folder of uploads that holds its recording; None: any replica can get hold of it.
        error: why it is refused; None: it is not.
    """

    source: str
    submission: Mapping[str, Any] | None = None
    subject: str | None = None
    place: str | None = None
    error: JobError | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a batch.

    Attributes:
        number: its place in the batch, from 0.
        state: where it is.
        source: what it is called to its owner.
        job: that it has become; None: none yet.
        repeated: whether that job was there before.
        error: why it is refused, or why it still waits.
        retry_at: when it is tried again; None: at once, or never.
    """

    number: int
    state: ItemState
    source: str
    job: Job | None
    repeated: bool
    error: JobError | None
    retry_at: datetime | None

    @property
    def status(self) -> str:
        """Of its job where it has one, else of the item."""
        return self.state.value if self.job is None else self.job.status.value

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state is not ItemState.WAITING and (self.job is None or self.job.status.final)

    @property
    def progress(self) -> float:
        """0..1."""
        return 1.0 if self.ended else 0.0 if self.job is None else self.job.progress


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch.

    Attributes:
        id: UUID, ours.
        owner: whose it is.
        created_at: when it was accepted.
        cancelled_at: when its owner asked to stop; None: he did not.
    """

    id: str
    owner: str
    created_at: datetime
    cancelled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """The right to take an item in, as long as its lease lasts.

    Attributes:
        batch: whose it is.
        key_id: of the API key that the batch was sent with.
        number: its place in the batch.
        fence: of this hold; an older one may write nothing.
        job_id: that its job gets: the same in every try.
        submission: of `api.schemas_batches.BatchItem`, as JSON.
        source: what it is called to its owner.
        tries: failures so far that may pass by themselves.
    """

    batch: Batch
    key_id: str
    number: int
    fence: int
    job_id: str
    submission: Mapping[str, Any]
    source: str
    tries: int
