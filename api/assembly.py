"""The service put together from its settings: everything is made and wired here, and started nowhere."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine

from api.admission_metrics import AdmissionMetrics
from api.audit import Audit
from api.batches.bell import BatchBell
from api.batches.store import BatchStore
from api.dependencies import Services
from api.foundation import prepare, supervisor_of
from api.ingest import ingest_rules
from api.jobs.admission import Admission
from api.jobs.feed import Feed
from api.jobs.folders import Folders
from api.jobs.idempotency import IdempotencyStore
from api.jobs.likeness import Sounds
from api.jobs.listening import Listening
from api.jobs.outlook import Outlook
from api.jobs.speed_store import SpeedStore
from api.jobs.sql_store import SqlJobStore
from api.jobs.supervisor import Supervisor
from api.jobs.workers import WorkerRegister
from api.keeping.erasure import Eraser
from api.keeping.holdings import Holdings
from api.keeping.holds import Holds
from api.limits import RateLimits
from api.machine_metrics import MachineMetrics
from api.metrics import Metrics
from api.notifications.notifier import Notifier
from api.notifications.wiring import notifier_of
from api.outbound import Outbound
from api.queue.open import open_queue
from api.security.keys import KeyStore
from api.security.secret import load_secret
from api.security.tickets import Tickets
from api.settings import MIB, Settings, pipeline_defaults
from api.sources import Sources
from api.transactions import check_pages
from api.uploads.direct import DirectUploads
from api.uploads.receiving import Receiver
from api.uploads.store import Uploads
from api.webhooks.dispatcher import Dispatcher
from api.webhooks.metrics import BacklogMetrics
from api.webhooks.sender import Sender
from api.webhooks.signing import OwnerSecrets
from api.webhooks.store import WebhookStore


@dataclass(frozen=True, slots=True)
class Assembly:
    """The service, not yet running.

    Attributes:
        services: what routes may ask for.
        engine: of the database; disposed of when the service has stopped.
        limits: how often each key may ask.
        supervisor: of the workers on this machine; none of them by Celery.
        dispatcher: sends webhooks.
        notifier: tells operators.
        first_key: the key that was made because there was none yet; shown once.
    """

    services: Services
    engine: Engine
    limits: RateLimits
    supervisor: Supervisor
    dispatcher: Dispatcher
    notifier: Notifier
    first_key: str | None


def assemble(settings: Settings) -> Assembly:
    """Make everything that outlives a request.

    Raises:
        PipelineError: the folders or the database cannot be used, or the keys were made with another secret.
    """
    engine, folders = prepare(settings)
    check_pages(engine)  # Later damage makes it not ready; with what is known from the start nothing begins.
    secret = load_secret(settings)
    keys = KeyStore(engine, secret)
    first_key = keys.bootstrap(settings.api_key.get_secret_value() if settings.api_key else None)
    store, register, defaults = SqlJobStore(engine), WorkerRegister(engine), pipeline_defaults(settings)
    # By Celery, workers are processes of their own: `python -m api worker`.
    supervisor = supervisor_of(settings, count=0 if settings.job_queue == "celery" else None)
    admission = _admission(settings, store, folders, supervisor)
    audit, holds = Audit(engine, secret), Holds(engine)
    uploads, direct = _uploads(settings, folders), _direct_uploads(settings, folders)
    outbound = Outbound(settings.outbound_networks, settings.outbound_ports)
    webhooks, webhook_secrets = WebhookStore(engine), OwnerSecrets(engine, secret)
    sender = Sender(outbound, webhook_secrets, settings.webhook_timeout_s)
    metrics = Metrics(engine, store)
    for collector in (
        BacklogMetrics(webhooks),
        MachineMetrics(folders),
        AdmissionMetrics(admission, settings.max_queued),
    ):
        metrics.registry.register(collector)
    services = Services(
        settings=settings,
        defaults=defaults,
        folders=folders,
        store=store,
        queue=open_queue(settings, store, metrics.registry),
        feed=Feed(store),
        outlook=Outlook(store, SpeedStore(engine), register, defaults, settings.workers),
        listening=_listening(settings, folders),
        sounds=Sounds(store, folders),
        idempotency=IdempotencyStore(engine, kept_s=settings.idempotency_s),
        admission=admission,
        sources=Sources(uploads, direct, outbound, ingest_rules(settings)),
        uploads=uploads,
        direct=direct,
        receiver=Receiver(uploads),
        tickets=Tickets(secret),
        metrics=metrics,
        workers=register,
        outbound=outbound,
        webhooks=webhooks,
        webhook_secrets=webhook_secrets,
        webhook_sender=sender,
        keys=keys,
        audit=audit,
        holds=holds,
        eraser=Eraser(
            Holdings(engine, store, folders),
            secret,
            audit,
            holds,
            uploads,
            beside=settings.backup_dir / "erased",
        ),
        batches=BatchStore(engine, secret),
        batch_bell=BatchBell(),
    )
    return Assembly(
        services=services,
        engine=engine,
        limits=RateLimits(settings),
        supervisor=supervisor,
        dispatcher=Dispatcher(webhooks, sender),
        notifier=notifier_of(settings, engine, admission, folders),
        first_key=first_key,
    )


def _admission(settings: Settings, store: SqlJobStore, folders: Folders, supervisor: Supervisor) -> Admission:
    return Admission(
        store,
        folders,
        supervisor,
        pipeline_defaults(settings),
        disk_reserve=settings.disk_reserve_mb * MIB,
        memory_reserve=settings.memory_reserve_mb * MIB,
    )


def _uploads(settings: Settings, folders: Folders) -> Uploads:
    return Uploads(
        folders.resumable,
        folders.uploads,
        expiry_s=settings.upload_expiry_s,
        most=settings.upload_count,
        most_bytes=settings.upload_total_mb * MIB,
    )


def _direct_uploads(settings: Settings, folders: Folders) -> DirectUploads:
    return DirectUploads(
        None if folders.shared is None else folders.shared.storage,
        max_bytes=settings.max_file_bytes,
        signed_s=settings.ticket_s,
        kept_s=settings.upload_expiry_s,
    )


def _listening(settings: Settings, folders: Folders) -> Listening:
    return Listening(
        folders,
        pipeline_defaults(settings),
        cache_bytes=settings.listening_cache_mb * MIB,
        reserve=settings.disk_reserve_mb * MIB,
    )
