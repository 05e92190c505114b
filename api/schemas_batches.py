"""Wire types of batches: many recordings by one call."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from api.schemas import ErrorBody, JobOptions, Metadata, Submission, Wire

OWN_FIELDS: Final = ("url", "upload_id", "path")
"""What says where the recording of an item is: one of them."""


class BatchItem(Submission):
    """One recording of a batch: where it is, and what of the shared options is another for it."""

    path: str | None = Field(
        default=None,
        max_length=1024,
        description="Of a file or folder in the operator's import folder, where there is one.",
    )


class Shared(JobOptions):
    """What is the same for every item that does not say otherwise."""

    webhook_url: str | None = Field(default=None, max_length=2048, description="Is told when each job ends.")
    priority: int | None = Field(default=None, ge=0, le=9)
    metadata: Metadata = Field(default_factory=dict)
    subject: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,128}$")] | None = None


class BatchRequest(Shared):
    """Many recordings, and what to do with them."""

    items: list[dict[str, Any]] = Field(
        min_length=1, description="Each as the body of POST /process, or with `path`."
    )


class ItemBody(Wire):
    """One line of a batch."""

    number: int = Field(ge=0, description="Its place in the batch, from 0.")
    source: str = Field(description="What was sent; of a URL, without its query.")
    status: Literal[
        "waiting", "refused", "queued", "running", "succeeded", "failed", "cancelled", "expired", "erased"
    ] = Field(description="waiting: its recording is still to be fetched, or there is no room yet.")
    job_id: str | None
    filename: str | None
    repeated: bool = Field(description="Whether its job was there before.")
    progress: float = Field(ge=0, le=1)
    eta_s: float | None
    error: ErrorBody | None = Field(description="Why it was refused or failed, or why it still waits.")
    retry_at: datetime | None = Field(description="When it is tried again.")


class BatchSummary(Wire):
    """How far a batch is."""

    id: str
    created_at: datetime
    cancelled_at: datetime | None
    ended: bool = Field(description="Whether nothing more will happen by itself.")
    total: int
    counts: dict[str, int] = Field(description="Items by status.")
    progress: float = Field(ge=0, le=1, description="Mean over the items; what has ended counts as whole.")
    eta_s: float | None = Field(description="Estimated seconds until it has ended; null when unknown.")
    links: dict[str, str]


class BatchBody(BatchSummary):
    """A batch, line by line."""

    items: list[ItemBody]


class BatchPage(Wire):
    """A page of batches, newest first."""

    batches: list[BatchSummary]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last.")
