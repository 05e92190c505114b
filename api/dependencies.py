"""What a route may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi import Path as PathParameter

from api.audit import Audit
from api.batches.bell import BatchBell
from api.batches.model import Batch
from api.batches.store import BatchStore
from api.errors import Gone, NotFound
from api.jobs.admission import Admission
from api.jobs.feed import Feed
from api.jobs.folders import Folders
from api.jobs.idempotency import IdempotencyStore
from api.jobs.likeness import Sounds
from api.jobs.listening import Listening
from api.jobs.model import Job, JobStatus
from api.jobs.outlook import Outlook
from api.jobs.store import JobStore
from api.jobs.workers import WorkerRegister
from api.keeping.erasure import Eraser
from api.keeping.holds import Holds
from api.metrics import Metrics
from api.outbound import Outbound
from api.queue.open import Queue
from api.security.keys import KeyStore
from api.security.principal import Principal, Scope
from api.security.tickets import Tickets
from api.settings import Settings
from api.sources import Sources
from api.uploads.direct import DirectUploads
from api.uploads.receiving import Receiver
from api.uploads.store import Uploads
from api.webhooks.sender import Sender
from api.webhooks.signing import OwnerSecrets
from api.webhooks.store import WebhookStore
from pipeline.config import PipelineConfig


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that outlives a request; made once by `api.app.create_app`."""

    settings: Settings
    defaults: PipelineConfig
    folders: Folders
    store: JobStore
    queue: Queue
    feed: Feed
    outlook: Outlook
    listening: Listening
    sounds: Sounds
    idempotency: IdempotencyStore
    admission: Admission
    sources: Sources
    uploads: Uploads
    direct: DirectUploads
    receiver: Receiver
    tickets: Tickets
    metrics: Metrics
    workers: WorkerRegister
    outbound: Outbound
    webhooks: WebhookStore
    webhook_secrets: OwnerSecrets
    webhook_sender: Sender
    keys: KeyStore
    audit: Audit
    holds: Holds
    eraser: Eraser
    batches: BatchStore
    batch_bell: BatchBell


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def _principal(request: Request) -> Principal:
    # The middleware lets no request without one reach a route that needs a scope.
    principal: Principal = request.scope["state"]["principal"]
    return principal


ServicesDep = Annotated[Services, Depends(_services)]
PrincipalDep = Annotated[Principal, Depends(_principal)]
JobId = Annotated[str, PathParameter(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]


def _own_job(job_id: JobId, services: ServicesDep, principal: PrincipalDep) -> Job:
    job = services.store.get(job_id)
    if job is None or (job.owner != principal.owner and Scope.ADMIN not in principal.scopes):
        # The same answer for another owner's job: ids must not be probed.
        raise NotFound(f"There is no job {job_id}.", "See GET /jobs.")
    if job.status is JobStatus.ERASED:
        raise Gone(f"The job {job_id} was deleted.", "Submit the recording again.")
    return job


OwnJob = Annotated[Job, Depends(_own_job)]


def _own_batch(batch_id: JobId, services: ServicesDep, principal: PrincipalDep) -> Batch:
    batch = services.batches.get(batch_id)
    if batch is None or (batch.owner != principal.owner and Scope.ADMIN not in principal.scopes):
        raise NotFound(f"There is no batch {batch_id}.", "See GET /batches.")
    return batch


OwnBatch = Annotated[Batch, Depends(_own_batch)]
