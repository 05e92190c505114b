"""The outbox: what is to be delivered is written down in the very transaction that ends the job."""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import UTC, datetime
from urllib.parse import urlsplit

from sqlalchemy import Connection, delete, insert, select

from api.bodies import job_body
from api.jobs.model import Job
from api.schemas import JobEnded, Wire
from api.webhooks.model import DeliveryStatus
from api.webhooks.tables import attempts, deliveries


def enqueue(connection: Connection, job: Job, at: float) -> None:
    """Write down that a job's receiver is to be told that it has ended; nothing where it named none.

    The message is made here and kept as it is: by the time it is sent the job may run again, or be expired.

    Args:
        connection: in the transaction that ends the job, so that either both happen or neither does.
        job: as it has ended.
        at: when, in seconds since 1970.
    """
    if job.webhook_url is None:
        return
    message = JobEnded.model_validate(
        {"type": f"job.{job.status}", "timestamp": datetime.fromtimestamp(at, UTC), "data": job_body(job)}
    )
    connection.execute(
        insert(deliveries).values(
            id=str(uuid.uuid4()),
            job_id=job.id,
            owner=job.owner,
            url=job.webhook_url,
            endpoint=endpoint_of(job.owner, job.webhook_url),
            receiver=_receiver_of(job.owner, job.webhook_url),
            kind=message.type,
            payload=payload_of(message),
            status=DeliveryStatus.PENDING,
            fence=0,
            tries=0,
            due_at=at,
            timed_at=at,
            created_at=at,
            opened_at=at,
        )
    )


def erase(connection: Connection, job_id: str) -> None:
    """Remove all deliveries of a job: their payloads hold its words.

    Args:
        connection: in the transaction that erases the job.
        job_id: of the job.
    """
    own = select(deliveries.c.seq).where(deliveries.c.job_id == job_id)
    connection.execute(delete(attempts).where(attempts.c.delivery_seq.in_(own)))
    connection.execute(delete(deliveries).where(deliveries.c.job_id == job_id))


def payload_of(message: Wire) -> str:
    """The body of a message: JSON in ASCII, so that no receiver can read its bytes as another text."""
    return json.dumps(message.model_dump(mode="json"), separators=(",", ":"))


def endpoint_of(owner: str, url: str) -> str:
    """What an owner's URL is known by in tables: 64 hexadecimal digits, however long it is."""
    return hashlib.sha256(f"{owner}\n{url}".encode()).hexdigest()


def _receiver_of(owner: str, url: str) -> str:
    try:
        host = urlsplit(url).netloc
    except ValueError:
        # No URL that was checked looks like that; and the end of a job must not fail for one that was not.
        host = ""
    return endpoint_of(owner, host.lower())
