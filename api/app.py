"""The service: everything is wired here, and nowhere else."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from anyio.to_thread import run_sync
from fastapi import FastAPI
from sqlalchemy import Engine

from api.audit import Audit
from api.database import open_database
from api.dependencies import Services
from api.guards import install_guards
from api.jobs.admission import Admission
from api.jobs.folders import Folders
from api.jobs.housekeeping import remove_incoming, sweep
from api.jobs.idempotency import IdempotencyStore
from api.jobs.sql_store import SqlJobStore
from api.jobs.supervisor import Supervisor
from api.metrics import Metrics
from api.migrate import upgrade
from api.routers import artifacts, jobs, process, service
from api.security.keys import KeyStore
from api.security.secret import load_secret
from api.security.tickets import Tickets
from api.settings import MIB, Settings, pipeline_defaults
from pipeline.errors import PipelineError
from pipeline.software import VERSION

log = logging.getLogger(__name__)

_HOUSEKEEPING_S = 3600.0


def folders_of(settings: Settings) -> Folders:
    """The folders that the settings name."""
    return Folders(
        settings.data_dir,
        settings.uploads_dir,
        settings.outputs_dir,
        settings.downloads_dir,
        settings.logs_dir,
    )


def prepare(settings: Settings) -> tuple[Engine, Folders]:
    """Make the folders, and open the database, brought up to date.

    Raises:
        PipelineError: the folders or the database cannot be used.
    """
    folders = folders_of(settings)
    folders.make()
    engine = open_database(settings.database_url.get_secret_value())
    upgrade(engine)
    return engine, folders


def create_app(settings: Settings) -> FastAPI:
    """Make the application. Its workers start and stop with it.

    Raises:
        PipelineError: the folders or the database cannot be used, or the keys were made with another secret.
    """
    engine, folders = prepare(settings)
    remove_incoming(folders)
    secret = load_secret(settings)
    keys = KeyStore(engine, secret)
    api_key = settings.api_key.get_secret_value() if settings.api_key else None
    first_key = keys.bootstrap(api_key)
    store = SqlJobStore(engine)
    supervisor = Supervisor(
        [sys.executable, "-m", "api", "worker"], settings.workers, grace_s=settings.grace_s + 5
    )
    defaults = pipeline_defaults(settings)
    tickets = Tickets(secret)
    metrics = Metrics(store, settings.data_dir)
    admission = Admission(
        store,
        folders,
        supervisor,
        defaults,
        disk_reserve=settings.disk_reserve_mb * MIB,
        memory_reserve=settings.memory_reserve_mb * MIB,
    )
    services = Services(
        settings,
        defaults,
        folders,
        store,
        IdempotencyStore(engine, kept_s=settings.idempotency_s),
        admission,
        tickets,
        metrics,
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        stop = threading.Event()
        housekeeper = threading.Thread(target=_keep_house, args=(services, stop), name="housekeeping")
        metrics.start()
        supervisor.start()
        housekeeper.start()
        try:
            yield
        finally:
            stop.set()
            await run_sync(supervisor.stop)
            await run_sync(housekeeper.join)
            await run_sync(metrics.stop)
            engine.dispose()

    app = FastAPI(title="Audio Pipeline", version=VERSION, summary=_SUMMARY, lifespan=lifespan)
    app.state.services = services
    app.state.first_key = first_key
    install_guards(
        app,
        settings,
        keys=keys,
        tickets=tickets,
        audit=Audit(engine, secret),
        observe=metrics.observe_request,
    )
    for router in (process.router, jobs.router, artifacts.router, service.router):
        app.include_router(router)
    return app


_SUMMARY = "A recording in; stems, a musical analysis and an auditable manifest out."


def _keep_house(services: Services, stop: threading.Event) -> None:
    days = services.settings.job_retention_days
    retention = timedelta(days=days) if days else None
    while True:
        try:
            sweep(services.store, services.folders, retention)
        except (PipelineError, OSError):
            log.exception(
                "housekeeping failed; the next round does the rest", extra={"action": "sweep_failed"}
            )
        if stop.wait(_HOUSEKEEPING_S):
            return
