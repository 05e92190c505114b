"""Webhooks: what became of them, sending them again, the secret that proves them."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response
from fastapi import Path as PathParameter

from api.audit_trail import note
from api.dependencies import OwnJob, PrincipalDep, ServicesDep
from api.errors import Conflict
from api.problems import refusals
from api.schemas import (
    DeliveryBody,
    JobEnded,
    Ping,
    WebhookAttemptBody,
    WebhookSecretBody,
    WebhookTestBody,
    WebhookTestRequest,
)
from api.webhooks.model import Answer, Delivery
from api.webhooks.outbox import payload_of
from api.webhooks.sender import check_webhook_url
from api.webhooks.signing import OwnerSecret

router = APIRouter(tags=["webhooks"])
messages = APIRouter(tags=["webhooks"])
"""What receivers get: for the OpenAPI document only."""

DeliveryId = Annotated[str, PathParameter(pattern=r"^[0-9a-f-]{36}$")]

# Threads of their own: slow receivers must not keep other requests waiting.
_tests = CapacityLimiter(4)


@messages.post("job-ended")
def job_ended(message: JobEnded) -> None:
    """A job has ended. Its `webhook_url` is told, signed after Standard Webhooks, until it answers 2xx."""


@router.get("/jobs/{job_id}/webhooks")
def list_deliveries(job: OwnJob, services: ServicesDep) -> list[DeliveryBody]:
    """What a job's receiver was told, with every attempt."""
    return [_body(delivery) for delivery in services.webhooks.of_job(job.id)]


@router.post("/jobs/{job_id}/webhooks/{delivery_id}/replay", status_code=202, responses=refusals(Conflict))
def replay(job: OwnJob, delivery_id: DeliveryId, services: ServicesDep) -> DeliveryBody:
    """Send a delivery again, with the same id and body, at once and by a schedule of its own.

    Its URL is taken up again if it had answered 410 Gone.
    """
    return _body(services.webhooks.replay(job.id, delivery_id))


@router.get("/webhooks/secret")
def get_secret(services: ServicesDep, principal: PrincipalDep, response: Response) -> WebhookSecretBody:
    """The secret that the caller's webhooks are signed with."""
    return _secret_body(services.webhook_secrets.of(principal.owner), response)


@router.post("/webhooks/secret/rotate")
def rotate_secret(services: ServicesDep, principal: PrincipalDep, response: Response) -> WebhookSecretBody:
    """Replace the secret. For 24 hours the one before signs too; rotate twice to end it at once."""
    return _secret_body(services.webhook_secrets.rotate(principal.owner), response)


@router.post("/webhooks/test")
async def test_receiver(
    wanted: WebhookTestRequest, services: ServicesDep, principal: PrincipalDep, request: Request
) -> WebhookTestBody:
    """Send a signed `ping` now, once, and say what came of it.

    A receiver that answers 2xx is taken up again if it had answered 410 Gone.
    """
    url = check_webhook_url(services.outbound, wanted.url)

    def ping() -> Answer:
        at = time.time()
        payload = payload_of(Ping(timestamp=datetime.fromtimestamp(at, UTC)))
        answer = services.webhook_sender.send(principal.owner, url, str(uuid.uuid4()), at, payload)
        if answer.accepted:
            services.webhooks.enable(principal.owner, url)
        return answer

    answer = await run_sync(ping, limiter=_tests)
    note(request, input=urlsplit(url).netloc, output=answer.error or str(answer.status_code))
    return WebhookTestBody(
        delivered=answer.accepted,
        status_code=answer.status_code,
        error=answer.error,
        seconds=round(answer.seconds, 3),
    )


def _body(delivery: Delivery) -> DeliveryBody:
    return DeliveryBody(
        id=delivery.id,
        type=delivery.kind,
        # Without its query: other keys of the owner may read this, and need not learn what is secret in it.
        url=delivery.url.partition("?")[0],
        status=delivery.status.value,
        created_at=delivery.created_at,
        next_attempt_at=delivery.next_at,
        attempts=[
            WebhookAttemptBody(
                number=one.number,
                at=one.at,
                status_code=one.status_code,
                error=one.error,
                seconds=None if one.seconds is None else round(one.seconds, 3),
            )
            for one in delivery.attempts
        ],
    )


def _secret_body(secret: OwnerSecret, response: Response) -> WebhookSecretBody:
    response.headers["Cache-Control"] = "no-store"
    return WebhookSecretBody(secret=secret.text, previous_signs_until=secret.previous_until)
