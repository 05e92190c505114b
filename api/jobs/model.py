"""The job: one request to take one recording apart, and everything that is known about it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any


class JobStatus(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"  # accepted: its input is safe on disk, and it will run
    RUNNING = "running"  # claimed by a worker whose lease has not run out
    SUCCEEDED = "succeeded"  # its manifest is published
    FAILED = "failed"  # `error` says why
    CANCELLED = "cancelled"  # the owner asked for it
    EXPIRED = "expired"  # its audio is gone by retention; the manifest stays
    ERASED = "erased"  # all of it is gone by the owner's wish

    @property
    def final(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self not in {JobStatus.QUEUED, JobStatus.RUNNING}


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed.

    Attributes:
        code: of `pipeline.errors` or `api.errors`.
        message: what is wrong.
        hint: what to do about it.
        retryable: whether the same job can succeed later.
    """

    code: str
    message: str
    hint: str = ""
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class StageTime:
    """How long a stage has taken.

    Attributes:
        name: of `pipeline.progress.STAGES`.
        status: ``running`` or ``succeeded``.
        seconds: so far.
    """

    name: str
    status: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Job:
    """A job. Frozen: the store is the truth, and every change goes through it.

    Attributes:
        id: UUID, ours.
        owner: whose job it is: the owner of the API key that it was submitted with.
        status: where it is.
        filename: of the recording, as given by the user: metadata only.
        input_path: where the recording lies, below the uploads folder, relative; None when it is gone.
        input_sha256: hash of the recording.
        input_bytes: its size.
        options: of `pipeline.config.PipelineConfig`, those that the user chose, as JSON.
        metadata: the user's own, as given.
        priority: higher runs first, within the limits of `api.jobs.rank`.
        webhook_url: is told when the job ends; None: nobody.
        content_key: equal for jobs of one owner with equal audio and options.
        subject: whom the recording is about, as its owner calls them; None: nobody was named.
        retention_days: days for which its audio is kept once it ended, 0 for ever; None: the service's.
        traceparent: W3C Trace Context of the request that it came with; None: nobody traced that.
        attempt: executions begun so far.
        max_attempts: executions allowed.
        fence: raised with every claim; a worker with an older one has lost the job.
        worker: who claimed it last.
        lease_until: when its claim ends unless renewed.
        cancel_requested: the owner asked to stop.
        progress: 0..1.
        stage: of `pipeline.progress.STAGES`; None before the first.
        stages: times of the stages of the last attempt.
        eta_s: estimated seconds until it ends; None when unknown.
        duration_s: length of the recording; None until it is known.
        error: why it failed; of a job that is to be tried again, why the last attempt did.
        retry_at: when a job that is to be tried again may run; None: at once.
        created_at: when it was accepted.
        started_at: when its last attempt began.
        finished_at: when it ended.
    """

    id: str
    owner: str
    status: JobStatus
    filename: str
    input_path: str | None
    input_sha256: str
    input_bytes: int
    created_at: datetime
    options: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    priority: int = 0
    webhook_url: str | None = None
    content_key: str | None = None
    subject: str | None = None
    retention_days: int | None = None
    traceparent: str | None = None
    attempt: int = 0
    max_attempts: int = 3
    fence: int = 0
    worker: str | None = None
    lease_until: datetime | None = None
    cancel_requested: bool = False
    progress: float = 0.0
    stage: str | None = None
    stages: tuple[StageTime, ...] = ()
    eta_s: float | None = None
    duration_s: float | None = None
    error: JobError | None = None
    retry_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    def evolve(self, **changes: Any) -> Job:
        """A copy with some fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened to a job, in order.

    Attributes:
        id: rises with time over all jobs.
        job_id: whose it is.
        kind: ``queued``, ``running``, ``progress``, ``succeeded``, ``failed``, ``stage_slow`` …
        data: what a listener is told, as JSON.
        at: when.
    """

    id: int
    job_id: str
    kind: str
    data: dict[str, Any]
    at: datetime
