"""From a submission to an accepted job: the same whether it came alone or in a batch."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import anyio
from anyio.to_thread import run_sync

from api.dependencies import Services
from api.errors import Conflict, InvalidRequest
from api.jobs.idempotency import Begun, Replay
from api.jobs.intake import examine, forget_input, job_config, keep_input, new_job
from api.jobs.model import Job, JobStatus
from api.jobs.results import is_whole
from api.jobs.usage import check_quota
from api.receiving import Received, Recording
from api.schemas import Submission
from api.security.principal import Principal
from api.tracing import traceparent
from api.webhooks.sender import check_webhook_url
from pipeline.config import PipelineConfig
from pipeline.errors import PipelineError

Held = Callable[[], bool]
"""Whether a request is still the one that handles something: nobody has begun it again since."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a request has become: a job, or a batch.

    Attributes:
        id: of it.
        repeated: whether it was there before.
    """

    id: str
    repeated: bool


async def once(
    services: Services,
    owner: str,
    key: str | None,
    fingerprint: str,
    accept: Callable[[str, Held | None], Awaitable[Accepted]],
) -> Accepted:
    """Accept something, unless the same Idempotency-Key has been answered before.

    Args:
        services: of the service.
        owner: who asks.
        key: that he sent; None: he sent none.
        fingerprint: equal for equal requests.
        accept: is given the id that it gets, and, where the same may have been sent before or be sent again,
            what tells whether it is still this request's: one before may have accepted it and died before it
            could say so.

    Raises:
        IdempotencyInFlight: the first request with this key is still being handled.
        IdempotencyMismatch: the key was used for another submission.
    """
    if key is None:
        return await accept(str(uuid.uuid4()), None)
    begun = await run_sync(services.idempotency.begin, owner, key, fingerprint)
    if isinstance(begun, Replay):
        return Accepted(begun.body.decode(), repeated=True)
    try:
        held = partial(services.idempotency.holds, begun)
        return await _finished(services, begun, await accept(begun.job_id, held))
    except BaseException:
        with anyio.CancelScope(shield=True):
            # Of one that is finished it forgets nothing.
            await run_sync(services.idempotency.abandon, begun)
        raise


async def _finished(services: Services, begun: Begun, accepted: Accepted) -> Accepted:
    await run_sync(services.idempotency.finish, begun, 202, {}, accepted.id.encode())
    return accepted


async def locate_and_accept(
    services: Services, principal: Principal, taken: Received, job_id: str, held: Held | None
) -> Accepted:
    """Get hold of a recording, wherever it is, and make a job of it.

    Args:
        services: of the service.
        principal: whose job it will be.
        taken: what was sent.
        job_id: that it gets.
        held: whether nobody else is making this very job by now; None: nobody else can.

    Raises:
        PipelineError: it is refused, or cannot be accepted now.
    """
    if held is not None and await run_sync(services.store.get, job_id) is not None:
        return Accepted(job_id, repeated=True)
    config = await run_sync(checked, services, principal, taken.submission)
    async with services.sources.recording(taken, principal.owner) as recording:
        return await run_sync(_accept, services, principal, taken.submission, config, recording, job_id, held)


def checked(services: Services, principal: Principal, submission: Submission) -> PipelineConfig:
    """Refuse what can never be done, before the recording is fetched or looked at.

    Raises:
        InvalidRequest: a value is outside its range, or more than the key may ask for.
        UrlRefused: the receiver of its webhook is of a kind that is not called.
        ConfigError: one of its leaves.
    """
    if submission.priority > principal.max_priority:
        raise InvalidRequest(
            f"This key may ask for priority {principal.max_priority} at most.",
            "Leave the priority out, or ask the operator for a key that may.",
        )
    if submission.webhook_url is not None:
        check_webhook_url(services.outbound, submission.webhook_url)
    return job_config(services.defaults, submission.options)


def _accept(
    services: Services,
    principal: Principal,
    submission: Submission,
    config: PipelineConfig,
    recording: Recording,
    job_id: str,
    held: Held | None,
) -> Accepted:
    owner, quota = principal.owner, principal.quota
    examined = examine(recording.path, recording.filename, config, recording.sha256)
    job = new_job(
        job_id,
        owner,
        recording.filename,
        examined,
        submission.options,
        metadata=submission.metadata,
        priority=submission.priority,
        webhook_url=submission.webhook_url,
        max_attempts=services.settings.max_attempts,
        subject=submission.subject,
        retention_days=principal.retention_days,
        traceparent=traceparent(),
    )
    known = services.store.find_content(owner, str(job.content_key))
    if known is not None and _does_for(services, known, submission):
        return Accepted(known.id, repeated=True)  # The same is not computed twice.
    check_quota(
        services.store,
        owner,
        job.duration_s or 0.0,
        jobs_per_day=quota.jobs_per_day,
        audio_s_per_month=quota.audio_s_per_month,
    )
    services.admission.admit_upload(examined.bytes, examined.probe, config)
    try:
        keep_input(recording.path, services.folders, job)
        if services.folders.shared is not None:
            services.folders.shared.keep_input(job.id, services.folders.input(job))
        services.store.add(job, max_queued=services.settings.max_queued)
    except Conflict:
        # This request took so long that it was taken for dead: the same, sent again, has made the job.
        return Accepted(job.id, repeated=True)
    except BaseException:
        with suppress(PipelineError):  # Where nobody can say, it is swept later.
            # Where it was sent again the recording is the other's too.
            if held is None or held():
                forget_input(services.store, services.folders, job.id)
        raise
    services.queue.wake(job)
    services.metrics.upload_bytes.inc(job.input_bytes)
    return Accepted(job.id, repeated=False)


def _does_for(services: Services, known: Job, submission: Submission) -> bool:
    if submission.webhook_url not in {None, known.webhook_url}:
        return False  # That receiver would never be told. The new job takes over the separation.
    return known.status is not JobStatus.SUCCEEDED or is_whole(services.folders, known.id)
