"""Deliveries: messages to a receiver, and what came of sending them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class DeliveryStatus(StrEnum):
    """Where a delivery is."""

    PENDING = "pending"  # to be sent: now, or when its next try is due
    SENDING = "sending"  # claimed by a dispatcher whose lease has not run out
    DELIVERED = "delivered"  # the receiver answered 2xx
    FAILED = "failed"  # all tries are used up
    DISABLED = "disabled"  # the receiver answered 410 Gone, to this one or to one before


OPEN = (DeliveryStatus.PENDING, DeliveryStatus.SENDING)
"""Statuses in which something will still happen by itself."""

INTERRUPTED = "interrupted"
"""Error of an attempt whose process died before it could say what came of it."""


@dataclass(frozen=True, slots=True)
class DeliveryClaim:
    """The right to make one attempt at a delivery, as long as its lease lasts.

    Attributes:
        id: UUID of the delivery: the webhook-id.
        job_id: whose end is told.
        owner: whose secret signs.
        url: where it goes.
        payload: the body, ASCII.
        fence: number of the attempt; what is recorded with an older one changes nothing.
        tries: attempts in this round, this one included.
        at: when it was claimed, in seconds since 1970 by the database's clock.
    """

    id: str
    job_id: str
    owner: str
    url: str
    payload: str
    fence: int
    tries: int
    at: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt.

    Attributes:
        seconds: that it took.
        status_code: HTTP's; None where there was no answer.
        error: code of why there was none; None where there was one.
        retry_after_s: seconds that the receiver asked to be left alone for.
    """

    seconds: float
    status_code: int | None = None
    error: str | None = None
    retry_after_s: float = 0.0

    @property
    def accepted(self) -> bool:
        """Whether the receiver has taken the message."""
        return self.status_code is not None and 200 <= self.status_code < 300

    @property
    def gone(self) -> bool:
        """Whether the receiver wants no more messages."""
        return self.status_code == 410


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a delivery.

    Attributes:
        number: 1, 2, 3 …
        at: when it began.
        status_code: HTTP's; None where there was no answer, or none yet.
        error: code of why there was none.
        seconds: that it took; None while it runs, or when its process died.
    """

    number: int
    at: datetime
    status_code: int | None
    error: str | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message to a receiver, and every attempt to deliver it.

    Attributes:
        id: UUID: the webhook-id.
        kind: type of the event: ``job.succeeded`` …
        url: where it goes.
        status: where it is.
        created_at: when the event happened.
        next_at: when it is tried next; None unless it waits for that.
        attempts: all of them, in order.
    """

    id: str
    kind: str
    url: str
    status: DeliveryStatus
    created_at: datetime
    next_at: datetime | None
    attempts: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is still to be delivered.

    Attributes:
        count: deliveries that are open.
        oldest_s: seconds that the oldest of them has been open for; 0 where there is none.
    """

    count: int
    oldest_s: float
