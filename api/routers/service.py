"""The service itself: is it there, can it work, what does it offer, what has it done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.dependencies import PrincipalDep, Services, ServicesDep
from api.jobs.intake import job_config
from api.jobs.model import JobStatus
from api.jobs.usage import usage_of
from api.schemas import (
    EstimateBody,
    EstimateRequest,
    HealthBody,
    ModelBody,
    TicketBody,
    TicketRequest,
    UsageBody,
    WorkerBody,
)
from pipeline.software import VERSION
from pipeline.weights.cache import present
from pipeline.weights.registry import MODELS

router = APIRouter(tags=["service"])


@router.get("/livez")
def live() -> dict[str, str]:
    """Whether the process answers at all."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"model": HealthBody, "description": "It takes no work now"}})
def ready(services: ServicesDep, response: Response) -> HealthBody:
    """Whether it can take work: 503 when it cannot."""
    body = _health(services)
    response.status_code = 200 if body.ready else 503
    return body


@router.get("/health")
def health(services: ServicesDep) -> HealthBody:
    """How it is, overall: 200 as long as it answers."""
    return _health(services)


@router.get("/models")
def models(services: ServicesDep, _principal: PrincipalDep) -> list[ModelBody]:
    """The models that a job may ask for."""
    return [
        ModelBody(
            name=spec.name,
            default=spec.name == services.defaults.model,
            summary=spec.summary,
            stems=list(spec.stems),
            bytes=spec.bytes,
            licence=spec.licence.name,
            licence_url=spec.licence.url,
            commercial_use=spec.licence.commercial_use,
            quality=str(spec.quality),
            ready=present(spec, services.defaults.weights),
        )
        for spec in MODELS.values()
        if spec.licence.commercial_use or not services.settings.commercial_only
    ]


@router.post("/tickets", status_code=201)
def make_ticket(wanted: TicketRequest, services: ServicesDep, principal: PrincipalDep) -> TicketBody:
    """A short-lived permission that fits into a URL: to read one job, to upload, or to submit."""
    lasts_s = wanted.expires_s or services.settings.ticket_s
    expires_at = datetime.now(UTC) + timedelta(seconds=lasts_s)
    ticket = services.tickets.issue(principal, _opened(wanted.path), wanted.path, expires_at)
    return TicketBody(ticket=ticket, url=f"{wanted.path}?ticket={ticket}", expires_at=expires_at)


@router.post("/estimate")
def estimate(wanted: EstimateRequest, services: ServicesDep, _principal: PrincipalDep) -> EstimateBody:
    """What a job would take, before it is submitted."""
    config = job_config(services.defaults, wanted.options.model_dump(exclude_none=True))
    cost = services.outlook.cost(wanted.duration_s, config)
    return EstimateBody(
        seconds=cost.seconds, wait_s=cost.wait_s, result_bytes=cost.result_bytes, measured=cost.measured
    )


@router.get("/usage")
def usage(services: ServicesDep, principal: PrincipalDep) -> UsageBody:
    """What the caller has used."""
    used = usage_of(services.store, principal.owner, datetime.now(UTC))
    return UsageBody(
        owner=principal.owner,
        scopes=sorted(principal.scopes),
        jobs_last_day=used.jobs_last_day,
        jobs_per_day=principal.quota.jobs_per_day,
        audio_s_last_month=used.audio_s_last_month,
        audio_s_per_month=principal.quota.audio_s_per_month,
    )


@router.get("/workers")
def workers(services: ServicesDep, _principal: PrincipalDep) -> list[WorkerBody]:
    """The worker processes that are there, of every machine."""
    return [
        WorkerBody(
            name=worker.name,
            host=worker.host,
            pid=worker.pid,
            started_at=worker.started_at,
            seen_at=worker.seen_at,
            job_id=worker.job_id,
            model=worker.model,
            device=worker.device,
            memory_bytes=worker.memory_bytes,
        )
        for worker in services.workers.alive()
    ]


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(services: ServicesDep) -> Response:
    """Prometheus metrics."""
    return Response(services.metrics.render(), media_type=CONTENT_TYPE_LATEST)


def _opened(path: str) -> tuple[str, ...]:
    """The methods that a ticket for a path opens."""
    if path in {"/process", "/batches"}:
        return ("POST",)
    return ("POST", "HEAD", "PATCH", "DELETE") if path.startswith("/uploads") else ("GET",)


def _health(services: Services) -> HealthBody:
    state = services.admission.state()
    active = (JobStatus.QUEUED, JobStatus.RUNNING)
    counts = services.store.counts(active) if state.database else {}
    return HealthBody(
        status="degraded" if state.reasons else "ok",
        version=VERSION,
        ready=not state.reasons,
        reasons=list(state.reasons),
        workers=state.workers,
        queued=counts.get(JobStatus.QUEUED, 0),
        running=counts.get(JobStatus.RUNNING, 0),
    )
