"""Deliveries and attempts as rows of their tables, and back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row

from api.webhooks.model import Answer, Attempt, Delivery, DeliveryClaim, DeliveryStatus
from api.webhooks.schedule import pause_s


def claim_of(row: Row[Any], at: float) -> DeliveryClaim:
    """The claim on a delivery.

    Args:
        row: as it was claimed.
        at: when, in seconds since 1970.
    """
    values = row._mapping
    names = ("id", "job_id", "owner", "url", "payload", "fence", "tries")
    return DeliveryClaim(**{name: values[name] for name in names}, at=at)


def delivery_of(row: Row[Any], attempts: Sequence[Row[Any]]) -> Delivery:
    """A delivery.

    Args:
        row: its own.
        attempts: those of its attempts, in order.
    """
    waits = row.status is DeliveryStatus.PENDING
    return Delivery(
        id=row.id,
        kind=row.kind,
        url=row.url,
        status=row.status,
        created_at=_datetime(row.created_at),
        next_at=_datetime(row.due_at) if waits else None,
        attempts=tuple(
            Attempt(one.number, _datetime(one.at), one.status_code, one.error, one.seconds)
            for one in attempts
        ),
    )


def after(claim: DeliveryClaim, answer: Answer, at: float, chance: float) -> dict[str, Any]:
    """What a delivery becomes by what came of an attempt.

    Args:
        claim: the right to make it.
        answer: what came of it.
        at: now, in seconds since 1970.
        chance: 0..1, at random.
    """
    pause = None if answer.gone else pause_s(claim.tries, chance, answer.retry_after_s)
    if answer.accepted:
        return {"status": DeliveryStatus.DELIVERED, "ended_at": at}
    if pause is None:
        return {"status": DeliveryStatus.DISABLED if answer.gone else DeliveryStatus.FAILED, "ended_at": at}
    return {"status": DeliveryStatus.PENDING, "due_at": at + pause, "timed_at": at}


def _datetime(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
