"""What a job store promises. The store is the truth: the queue only says "look"."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from api.jobs.model import Job, JobError, JobEvent, JobStatus, StageTime


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run a job, as long as its lease lasts.

    Attributes:
        job: as it was claimed.
        worker: who claimed it.
        fence: of this claim: every write with an older one is refused.
    """

    job: Job
    worker: str
    fence: int


@dataclass(frozen=True, slots=True)
class Beat:
    """The store's answer to a heartbeat.

    Attributes:
        held: whether the claim still holds; if not, the worker must stop and write nothing.
        cancel: whether the owner asked to stop.
    """

    held: bool
    cancel: bool


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list; None is any.

    Attributes:
        owner: id of the API key.
        statuses: any of these.
        text: part of the file name, case-insensitive.
        subject: whom the recording is about, exactly.
        since: created at or after.
        until: created before.
    """

    owner: str | None = None
    statuses: tuple[JobStatus, ...] | None = None
    text: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None


_PAGE = 200


def every_job(store: JobStore, wanted: JobFilter) -> Iterator[Job]:
    """Walk through all jobs that a filter lets pass, newest first, page by page."""
    after: str | None = None
    while page := store.find(wanted, after=after, limit=_PAGE):
        yield from page
        after = page[-1].id


class Listener(Protocol):
    """What a heartbeat speaks to: a job store, or who keeps leases of another kind."""

    def beat(
        self,
        claim: Claim,
        lease_s: float,
        *,
        progress: float | None = None,
        stage: str | None = None,
        stages: Sequence[StageTime] | None = None,
        eta_s: float | None = None,
        duration_s: float | None = None,
    ) -> Beat:
        """Renew a lease, and say how far the job is."""
        ...

    def slow(self, claim: Claim, stage: str) -> bool:
        """Tell and count that a stage takes long. False when the claim was lost."""
        ...

    def fail(self, claim: Claim, error: JobError, *, again: bool = False) -> bool:
        """End an attempt badly. `again` queues the job once more while attempts are left, after a rest."""
        ...


class JobStore(Listener, Protocol):
    """Keeps jobs. Every method is one transaction, safe from any number of threads and processes.

    Times that decide anything (leases, order) are the database's, so that processes with clocks of their own
    agree.
    """

    def add(self, job: Job, *, max_queued: int | None = None) -> Job:
        """Accept a job. Durable when it returns.

        Raises:
            QueueFull: `max_queued` jobs wait already.
            Conflict: there is a job of this id.
        """
        ...

    def get(self, job_id: str) -> Job | None:
        """Look a job up."""
        ...

    def find(self, wanted: JobFilter, *, after: str | None = None, limit: int = 50) -> Sequence[Job]:
        """List jobs, newest first.

        Args:
            wanted: which.
            after: id of the last job of the page before.
            limit: at most so many.
        """
        ...

    def find_content(self, owner: str, content_key: str) -> Job | None:
        """The newest job of an owner with this content that succeeded, is queued or is running."""
        ...

    def claim(self, worker: str, lease_s: float) -> Claim | None:
        """Take the next job: one atomic update.

        Highest priority first; among equals owners take turns, and of an owner the oldest. A job that others
        overtake for long rises: see `api.jobs.rank`. Jobs whose lease ran out are taken again, or failed with
        ``attempts_exhausted`` when they were taken `max_attempts` times. Those that rest are not taken.
        """
        ...

    def succeed(self, claim: Claim) -> bool:
        """End a job well. False when the claim was lost: then nothing is written."""
        ...

    def cancelled(self, claim: Claim) -> bool:
        """End a job because its owner asked for it."""
        ...

    def release(self, claim: Claim) -> bool:
        """Hand a job back unfinished: it is queued as it was, and the attempt does not count."""
        ...

    def request_cancel(self, job_id: str) -> Job | None:
        """Ask a job to stop: at once when it is queued, else at the worker's next heartbeat."""
        ...

    def requeue(self, job_id: str) -> Job | None:
        """Queue an ended job anew, with all its attempts, or end the rest of one that is to be tried again.

        None for a job that neither failed, nor was cancelled, nor rests.
        """
        ...

    def mark(self, job_id: str, status: JobStatus) -> Job | None:
        """Record that an ended job is expired or erased; its input path is forgotten."""
        ...

    def position(self, job_id: str) -> int | None:
        """How many queued jobs run before this one; None unless it is queued."""
        ...

    def line(self, limit: int) -> Sequence[Job]:
        """The first queued jobs in the order in which they will be taken, as things stand."""
        ...

    def counts(self, statuses: Collection[JobStatus] = tuple(JobStatus)) -> dict[JobStatus, int]:
        """How many jobs there are in each status; of ended ones it takes as long as there are many."""
        ...

    def oldest_queued(self) -> datetime | None:
        """Since when the job waits that could run for longest."""
        ...

    def events(self, job_id: str | None, after: int, limit: int = 100) -> Sequence[JobEvent]:
        """What happened after an event, in order; of one job, or of all."""
        ...

    def last_event(self) -> int:
        """Id of the newest event of all jobs; 0 when there is none."""
        ...

    def check(self) -> None:
        """Fail unless the database can be read and written.

        Raises:
            OSError: it cannot.
        """
        ...
