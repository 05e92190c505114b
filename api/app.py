"""The service: everything is wired here, and nowhere else."""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Final

import anyio
from anyio.to_thread import run_sync
from fastapi import FastAPI
from sqlalchemy import Engine

from api.admission_metrics import AdmissionMetrics
from api.audit import Audit
from api.batch_intake import BatchIntake
from api.batches.bell import BatchBell
from api.batches.store import BatchStore
from api.clocks import SteadyClock
from api.database import open_database
from api.dependencies import Services
from api.guards import install_guards
from api.ingest import ingest_rules
from api.jobs import result_cache
from api.jobs.admission import Admission
from api.jobs.feed import Feed
from api.jobs.folders import Folders
from api.jobs.housekeeping import keep_house, sweep
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
from api.keeping.places import folders_of, policy_of, record_expiry
from api.keeping.restore import refuse_unfinished
from api.leadership import Leadership
from api.limits import RateLimits
from api.log_files import remove_old_logs
from api.machine_metrics import MachineMetrics
from api.metrics import Metrics
from api.migrate import upgrade
from api.notifications.wiring import notifier_of
from api.openapi import DocumentedApp
from api.outbound import Outbound
from api.queue.open import open_queue
from api.routers import (
    admin,
    artifacts,
    batches,
    direct_uploads,
    jobs,
    listening,
    process,
    service,
    uploads,
    webhooks,
)
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
from pipeline.software import VERSION

_BATCHES_KEPT: Final = timedelta(days=30)
"""For how long it is known which jobs came in one batch."""


def prepare(settings: Settings, *, create: bool = True) -> tuple[Engine, Folders]:
    """Make the folders, and open the database, brought up to date.

    Args:
        settings: where they are.
        create: whether to make a database that is missing.

    Raises:
        PipelineError: the folders or the database cannot be used.
    """
    refuse_unfinished(settings.data_dir)
    folders = folders_of(settings)
    folders.make()
    engine = open_database(settings.database_url.get_secret_value(), create=create)
    upgrade(engine)
    return engine, folders


def supervisor_of(settings: Settings, *, bells: bool = False, count: int | None = None) -> Supervisor:
    """What keeps the workers of a machine alive, not yet started.

    Args:
        settings: how many there are, and how patient it is with them.
        bells: whether they rest until they are told to look.
        count: how many; None: as the settings say.
    """
    return Supervisor(
        [sys.executable, "-m", "api", "worker"],
        settings.workers if count is None else count,
        grace_s=settings.grace_s + 5,
        silent_s=settings.worker_silence_s,
        bells=bells,
    )


def create_app(settings: Settings) -> FastAPI:
    """Make the application. Its workers start and stop with it.

    Raises:
        PipelineError: the folders or the database cannot be used, or the keys were made with another secret.
    """
    engine, folders = prepare(settings)
    check_pages(engine)  # Later damage makes it not ready; with what is known from the start nothing begins.
    secret = load_secret(settings)
    keys = KeyStore(engine, secret)
    first_key = keys.bootstrap(settings.api_key.get_secret_value() if settings.api_key else None)
    store = SqlJobStore(engine)
    # By Celery, workers are processes of their own: `python -m api worker`.
    supervisor = supervisor_of(settings, count=0 if settings.job_queue == "celery" else None)
    defaults, register = pipeline_defaults(settings), WorkerRegister(engine)
    tickets, audit, holds = Tickets(secret), Audit(engine, secret), Holds(engine)
    metrics, limits = Metrics(engine, store), RateLimits(settings)
    queue = open_queue(settings, store, metrics.registry)
    admission = Admission(
        store,
        folders,
        supervisor,
        defaults,
        disk_reserve=settings.disk_reserve_mb * MIB,
        memory_reserve=settings.memory_reserve_mb * MIB,
    )
    resumable = Uploads(
        folders.resumable,
        folders.uploads,
        expiry_s=settings.upload_expiry_s,
        most=settings.upload_count,
        most_bytes=settings.upload_total_mb * MIB,
    )
    direct = DirectUploads(
        None if folders.shared is None else folders.shared.storage,
        max_bytes=settings.max_file_bytes,
        signed_s=settings.ticket_s,
        kept_s=settings.upload_expiry_s,
    )
    outbound = Outbound(settings.outbound_networks, settings.outbound_ports)
    webhook_store, webhook_secrets = WebhookStore(engine), OwnerSecrets(engine, secret)
    sender = Sender(outbound, webhook_secrets, settings.webhook_timeout_s)
    for collector in (
        BacklogMetrics(webhook_store),
        MachineMetrics(folders),
        AdmissionMetrics(admission, settings.max_queued),
    ):
        metrics.registry.register(collector)
    services = Services(
        settings,
        defaults,
        folders,
        store,
        queue,
        Feed(store),
        Outlook(store, SpeedStore(engine), register, defaults, settings.workers),
        Listening(
            folders,
            defaults,
            cache_bytes=settings.listening_cache_mb * MIB,
            reserve=settings.disk_reserve_mb * MIB,
        ),
        Sounds(store, folders),
        IdempotencyStore(engine, kept_s=settings.idempotency_s),
        admission,
        Sources(resumable, direct, outbound, ingest_rules(settings)),
        resumable,
        direct,
        Receiver(resumable),
        tickets,
        metrics,
        register,
        outbound,
        webhook_store,
        webhook_secrets,
        sender,
        keys,
        audit,
        holds,
        Eraser(
            Holdings(engine, store, folders),
            secret,
            audit,
            holds,
            resumable,
            beside=settings.backup_dir / "erased",
        ),
        BatchStore(engine, secret),
        BatchBell(),
    )
    dispatcher, notifier = (
        Dispatcher(webhook_store, sender),
        notifier_of(settings, engine, admission, folders),
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        stop = threading.Event()
        given = (services, Leadership(engine, "housekeeping"), stop)
        housekeeper = threading.Thread(target=_keep_house, args=given, name="housekeeping")
        supervisor.start()
        housekeeper.start()
        dispatcher.start()
        notifier.start()
        queue.start(engine)
        try:
            async with anyio.create_task_group() as tasks:
                await tasks.start(services.feed.run)
                tasks.start_soon(BatchIntake(services, limits).run)
                yield
                tasks.cancel_scope.cancel()
        finally:
            stop.set()
            notifier.stop()
            await run_sync(supervisor.stop)
            # After the workers: what they end while they stop is told at once.
            await run_sync(dispatcher.stop)
            await run_sync(queue.close)
            await run_sync(services.listening.close)
            await run_sync(housekeeper.join)
            engine.dispose()

    app = bare_app(lifespan)
    app.state.services = services
    app.state.first_key = first_key
    install_guards(
        app,
        settings,
        keys=keys,
        tickets=tickets,
        audit=audit,
        limits=limits,
        observe=metrics.observe_request,
    )
    return app


def bare_app(lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None) -> FastAPI:
    """The application with all of its routes and nothing behind them: enough for its OpenAPI document."""
    app = DocumentedApp(
        title="Audio Pipeline",
        version=VERSION,
        summary=_SUMMARY,
        lifespan=lifespan,
        webhooks=webhooks.messages,
        generate_unique_id_function=lambda route: route.name,
        redirect_slashes=False,  # to an address with the client's own Host header in it
    )
    for router in (
        process.router, batches.router, uploads.router, jobs.router, artifacts.router, service.router,
        listening.router, webhooks.router, admin.router, direct_uploads.router,
    ):  # fmt: skip
        app.include_router(router)
    return app


_SUMMARY = "A recording in; stems, a musical analysis and an auditable manifest out."


def _keep_house(services: Services, leadership: Leadership, stop: threading.Event) -> None:
    settings = services.settings
    clock = SteadyClock(services.folders.data / "clock")

    def sweep_jobs() -> None:
        sweep(
            services.store,
            services.folders,
            policy_of(settings, services.holds.held()),
            clock.now,
            separation_cache_bytes=settings.separation_cache_mb * MIB,
            listening_cache_bytes=settings.listening_cache_mb * MIB,
            gone=partial(record_expiry, services.audit, "system"),
        )

    def sweep_uploads() -> None:
        services.uploads.sweep(clock.now())

    def forget_deliveries() -> None:
        services.webhooks.forget(clock.now() - timedelta(days=settings.webhook_log_days))

    def forget_batches() -> None:
        services.batches.forget(clock.now() - _BATCHES_KEPT)

    def sweep_copies() -> None:
        result_cache.prune(services.folders, settings.storage_cache_mb * MIB)

    def sweep_storage() -> None:
        # What lies on this machine is this machine's to sweep; what all share, one does.
        if leadership.leads():
            result_cache.sweep_shared(services.store, services.folders, clock.now())
            services.direct.sweep()

    def finish_erasures() -> None:
        if leadership.leads():
            services.eraser.finish()

    def sweep_logs() -> None:
        remove_old_logs(services.folders.logs, clock.now() - timedelta(days=settings.log_days))

    tasks = [
        finish_erasures, sweep_jobs, sweep_uploads, forget_deliveries, forget_batches, sweep_copies,
        sweep_storage, sweep_logs,
    ]  # fmt: skip
    with leadership:
        keep_house(tasks, stop)
