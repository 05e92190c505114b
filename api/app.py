"""The application: routes, guards before them, and the service behind them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI

from api.assembly import assemble
from api.guards import install_guards
from api.lifetime import running
from api.openapi import DocumentedApp
from api.request_traces import REQUEST_TRACES
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
from api.settings import Settings
from pipeline.software import VERSION

_SUMMARY = "A recording in; stems, a musical analysis and an auditable manifest out."


def create_app(settings: Settings) -> FastAPI:
    """Make the application. Its workers start and stop with it.

    Raises:
        PipelineError: the folders or the database cannot be used, or the keys were made with another secret.
    """
    assembly = assemble(settings)
    services = assembly.services
    app = bare_app(lambda _: running(assembly))
    app.state.services = services
    app.state.first_key = assembly.first_key
    install_guards(
        app,
        settings,
        keys=services.keys,
        tickets=services.tickets,
        audit=services.audit,
        limits=assembly.limits,
        observe=services.metrics.observe_request,
    )
    return app


def bare_app(lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None) -> FastAPI:
    """The application with all of its routes and nothing behind them: enough for its OpenAPI document."""
    app = DocumentedApp(
        title="Audio Pipeline",
        version=VERSION,
        summary=_SUMMARY,
        lifespan=lifespan,
        telemetry=REQUEST_TRACES,
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
