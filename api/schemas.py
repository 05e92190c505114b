"""Wire types: what goes over HTTP. Plain pydantic, so that any client can use them."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import from_json, to_json

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]


def _listed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return [] if value.strip() in {"", "none"} else value.split(",")


Names = Annotated[list[Name], BeforeValidator(_listed)]
"""In JSON an array; in a form names separated by commas, or ``none``."""

_METADATA_BYTES = 16 << 10


def _parsed(value: Any) -> Any:
    try:
        return from_json(value) if isinstance(value, str) else value
    except ValueError as exc:
        raise ValueError("should be a JSON object") from exc


def _storable(value: dict[str, Any]) -> dict[str, Any]:
    # NaN and infinity are no JSON, and a database's text holds no NUL.
    text = to_json(value, inf_nan_mode="strings")
    if len(text) > _METADATA_BYTES:
        raise ValueError(f"should hold at most {_METADATA_BYTES >> 10} KB")
    if b"\\u0000" in text or not _is_finite(value):
        raise ValueError("should hold no NUL character, NaN or infinity")
    return value


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


Metadata = Annotated[dict[str, Any], BeforeValidator(_parsed), AfterValidator(_storable)]
"""The user's own JSON object; in a form as text."""


class Wire(BaseModel):
    """Base of every wire type."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class JobOptions(Wire):
    """What to do with a recording. What is left out is the service's default."""

    model: Name | None = Field(default=None, description="See GET /models.")
    stems: Names | None = Field(
        default=None,
        max_length=16,
        description="Default: all of the model's. no_<stem> is the mix without it.",
    )
    formats: Names | None = Field(default=None, min_length=1, max_length=8)
    estimators: Names | None = Field(default=None, max_length=32, description="Default: all. Empty: none.")
    exports: Names | None = Field(
        default=None, max_length=16, description="Files for other programs: csv, midi … Default: none."
    )
    residual: Literal["report", "file", "distribute"] | None = None
    channels: Literal["keep", "stereo"] | None = None
    precision: Literal["exact", "balanced", "fast"] | None = Field(
        default=None, description="balanced; exact: demucs' own arithmetic, slower; fast: less overlap."
    )
    shifts: int | None = Field(default=None, ge=0, le=10)
    overlap: float | None = Field(default=None, ge=0.0, le=0.9)
    commercial_only: bool | None = None
    accept_damaged: bool | None = None


class Submission(JobOptions):
    """A job: what to do, with which recording, and who is told.

    The recording is the file of a form, or else `url` or `upload_id`.
    """

    url: str | None = Field(
        default=None, max_length=2048, description="https, of a host that the operator has allowed."
    )
    upload_id: str | None = Field(default=None, max_length=64, description="Of a finished upload.")
    webhook_url: str | None = Field(default=None, max_length=2048, description="Is told when the job ends.")
    priority: int = Field(default=0, ge=0, le=9, description="Higher runs first, as far as the key allows.")
    metadata: Metadata = Field(default_factory=dict, description="Yours; comes back with the job.")
    subject: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,128}$")] | None = Field(
        default=None,
        description="Whom the recording is about: for finding and erasing all of theirs.",
    )

    @property
    def options(self) -> dict[str, Any]:
        """What was chosen of `JobOptions`."""
        return self.model_dump(include=set(JobOptions.model_fields), exclude_none=True)


class StageBody(Wire):
    """One stage of a job."""

    name: str
    status: Literal["running", "succeeded"]
    seconds: float


class ErrorBody(Wire):
    """Why a job failed."""

    code: str
    message: str
    hint: str
    retryable: bool


class JobBody(Wire):
    """A job as its owner sees it."""

    id: str
    status: Literal["queued", "running", "succeeded", "failed", "cancelled", "expired", "erased"]
    filename: str
    input_sha256: str
    input_bytes: int
    duration_s: float | None = Field(description="Length of the recording, once it is known.")
    options: dict[str, Any]
    metadata: dict[str, Any]
    subject: str | None = None
    priority: int
    attempt: int
    progress: Annotated[float, Field(ge=0, le=1)]
    stage: str | None
    stages: list[StageBody]
    queue_position: int | None = Field(description="Jobs before this one; null unless it is queued.")
    eta_s: float | None = Field(
        description="Estimated seconds until it ends, with those before it; null when unknown."
    )
    error: ErrorBody | None = Field(
        description="Why it failed; while it is queued to be tried again, why the last attempt did."
    )
    retry_at: datetime | None = Field(
        description="A failed attempt is repeated then; null: at once, or never."
    )
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: dict[str, str]


class JobPage(Wire):
    """A page of jobs, newest first."""

    jobs: list[JobBody]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last.")


class JobEnded(Wire):
    """What a job's receiver is told: Standard Webhooks 1.0.0."""

    type: Literal["job.succeeded", "job.failed", "job.cancelled"]
    timestamp: datetime = Field(description="When the job ended.")
    data: JobBody = Field(description="As GET /jobs/{job_id} gave it then.")


class Ping(Wire):
    """What a receiver is told when it is tested."""

    type: Literal["ping"] = "ping"
    timestamp: datetime
    data: dict[str, Any] = Field(default_factory=dict)


class WebhookAttemptBody(Wire):
    """One attempt to deliver a webhook."""

    number: int
    at: datetime
    status_code: int | None = Field(description="Null where there was no answer, or is none yet.")
    error: str | None = Field(description="Code of why there was no answer.")
    seconds: float | None = Field(description="Null while it runs, or when its process died.")


class DeliveryBody(Wire):
    """A webhook, and every attempt to deliver it."""

    id: str = Field(description="The `webhook-id` of every attempt.")
    type: str
    url: str = Field(description="Without its query.")
    status: Literal["pending", "sending", "delivered", "failed", "disabled"] = Field(
        description="disabled: the receiver answered 410 Gone, to this one or to one before."
    )
    created_at: datetime
    next_attempt_at: datetime | None = Field(description="Null unless it is pending.")
    attempts: list[WebhookAttemptBody]


class WebhookSecretBody(Wire):
    """What the caller's webhooks are signed with."""

    secret: str
    previous_signs_until: datetime | None = Field(description="Null where only this one signs.")


class WebhookTestRequest(Wire):
    """A receiver to be tested."""

    url: str = Field(max_length=2048)


class WebhookTestBody(Wire):
    """What came of testing a receiver."""

    delivered: bool = Field(description="Whether it answered 2xx.")
    status_code: int | None
    error: str | None
    seconds: float


class ModelBody(Wire):
    """A model that can be asked for."""

    name: str
    default: bool
    summary: str
    stems: list[str]
    bytes: int
    licence: str
    licence_url: str
    commercial_use: bool
    quality: str
    ready: bool = Field(description="Whether its weights seem to be on this machine.")


class HealthBody(Wire):
    """How the service is."""

    status: Literal["ok", "degraded"]
    version: str
    ready: bool
    reasons: list[str] = Field(description="Why it takes no work now; empty when it does.")
    workers: int
    queued: int
    running: int


class WorkerBody(Wire):
    """A worker process."""

    name: str
    host: str
    pid: int
    started_at: datetime
    seen_at: datetime
    job_id: str | None = Field(description="That it runs; null while it waits.")
    model: str | None = Field(description="That it keeps loaded.")
    device: str = Field(description="Where models run; auto until one is loaded.")
    memory_bytes: int


class TicketRequest(Wire):
    """What a ticket should open."""

    path: str = Field(
        pattern=r"^/((job|batche)s/[0-9a-f-]{36}(/[\w./-]*)?|uploads(/[0-9a-f-]{36})?|process|batches)$",
        description="A job's or batch's path, or one below it: to read. /uploads, or one upload's path: to "
        "send. /process or /batches: to submit.",
    )
    expires_s: int | None = Field(default=None, ge=10, le=86400, description="Default: the service's.")


class UploadBody(Wire):
    """A resumable upload that is no job yet."""

    id: str
    filename: str
    length: int = Field(description="Bytes that it will have.")
    offset: int = Field(description="Bytes that are here.")
    finished: bool
    created_at: datetime
    expires_at: datetime = Field(description="Put off by every byte that comes in.")


class DirectUploadRequest(Wire):
    """A recording that is to go straight to the storage."""

    filename: str = Field(min_length=1, max_length=500)
    length: int = Field(ge=1, description="Bytes that it has, exactly.")


class DirectUploadBody(Wire):
    """Where to send a recording; then `POST /process` with `upload_id`."""

    upload_id: str
    method: str = "PUT"
    url: str
    headers: dict[str, str] = Field(description="That the request must carry exactly so.")
    expires_at: datetime


class TicketBody(Wire):
    """A short-lived permission that fits into a URL: for players, downloads, event streams and uploads."""

    ticket: str
    url: str
    expires_at: datetime


class EstimateRequest(Wire):
    """A job that is not submitted yet."""

    duration_s: float = Field(gt=0, le=86400, description="Length of the recording.")
    options: JobOptions = JobOptions()


class EstimateBody(Wire):
    """What a job would take."""

    seconds: float = Field(
        description="Of work, once it runs; with loading the model where no worker has it loaded."
    )
    wait_s: float = Field(description="Until it would run.")
    result_bytes: int
    measured: bool = Field(description="Whether the speed was measured here, or is a first guess.")


class UsageBody(Wire):
    """What the caller has used, and what its key may use; null is any amount."""

    owner: str
    scopes: list[str]
    jobs_last_day: int
    jobs_per_day: int | None
    audio_s_last_month: float
    audio_s_per_month: float | None


class TrackBody(Wire):
    """Something of a job that can be listened to."""

    name: str
    kind: Literal["stem", "residual", "mix"]
    available_s: float = Field(ge=0, description="Seconds, from the start, whose parts can be fetched.")


class AudioBody(Wire):
    """What of a job can be listened to, part by part."""

    sample_rate: int = Field(gt=0, description="Hz, of all tracks: the recording's own.")
    channels: int = Field(description="1 or 2; surround sound is folded down.")
    samples: int | None = Field(description="Of the recording; null until it is known.")
    part_s: float = Field(description="Seconds of a part. The last one is shorter.")
    complete: bool = Field(description="Whether all of every track is there, as it will stay.")
    tracks: list[TrackBody]


class SimilarJob(Wire):
    """A finished job whose recording sounds like another's."""

    id: str
    filename: str
    created_at: datetime
    similarity: float = Field(ge=0, le=1, description="Of timbre, harmony, tempo and balance; 1: equal.")
    same: bool = Field(description="Whether it is the same recording, however it was encoded.")


class SimilarBody(Wire):
    """The caller's jobs that sound most like one of them."""

    items: list[SimilarJob] = Field(description="The same recording first, then by similarity.")
    compared: int = Field(description="Jobs that were compared: the newest, of those with `sound`.")


class Peaks(Wire):
    """Waveform data of one stem: the smallest and largest sample of each bucket, mean over channels.

    The values are 8-bit steps of full scale, alternately minimum and maximum, as audio waveform players take
    them.
    """

    name: str
    sample_rate: int
    samples: int
    samples_per_bucket: int
    bits: Literal[8] = 8
    data: list[Annotated[int, Field(ge=-128, le=127)]]
