"""The tables of webhooks: what is to be delivered, what came of it, and which secrets sign it."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Enum,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from api.database import metadata
from api.encryption.fields import EncryptedText
from api.webhooks.model import DeliveryStatus

_Counter = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up INTEGER keys only.

# By value, as plain text: a status that is added later changes no table.
_STATUS = Enum(
    DeliveryStatus, native_enum=False, length=16, values_callable=lambda kind: [s.value for s in kind]
)

deliveries = Table(
    "webhook_deliveries",
    metadata,
    # Times are seconds since 1970 by the database's clock.
    Column("seq", _Counter, primary_key=True, comment="order of the events"),
    Column("id", String(36), nullable=False, comment="UUID: the webhook-id of every attempt"),
    Column("job_id", String(64), ForeignKey("jobs.id"), nullable=False),
    Column("owner", String(128), nullable=False),
    Column("url", Text, nullable=False),
    Column("endpoint", String(64), nullable=False, comment="SHA-256 of owner and URL"),
    Column("receiver", String(64), nullable=False, comment="SHA-256 of owner, host and port"),
    Column("kind", String(64), nullable=False, comment="type of the event: job.succeeded …"),
    Column(
        "payload",
        EncryptedText("webhook_deliveries.payload"),
        nullable=False,
        comment="ASCII, byte for byte as it is signed and sent",
    ),
    Column("status", _STATUS, nullable=False),
    Column("fence", Integer, nullable=False, comment="raised with every claim: number of the attempt"),
    Column("tries", Integer, nullable=False, comment="attempts since the event, or since the last replay"),
    Column("due_at", Double, nullable=False, comment="when it is to be claimed; of one that is: its lease"),
    Column("timed_at", Double, nullable=False, comment="when due_at was set"),
    Column("created_at", Double, nullable=False),
    Column("opened_at", Double, nullable=False, comment="when it was made pending: first, or by a replay"),
    Column("ended_at", Double, comment="when it was delivered or given up"),
    UniqueConstraint("id"),
    Index("ix_webhook_deliveries_status_due_at", "status", "due_at"),
    Index("ix_webhook_deliveries_status_timed_at", "status", "timed_at"),
    Index("ix_webhook_deliveries_job_id_seq", "job_id", "seq"),
    sqlite_autoincrement=True,
)
"""One row a message; inserted in the transaction that ends the job."""

attempts = Table(
    "webhook_attempts",
    metadata,
    Column("delivery_seq", _Counter, ForeignKey("webhook_deliveries.seq"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False, comment="1, 2, 3 … of a delivery"),
    Column("at", Double, nullable=False, comment="when it was claimed: the webhook-timestamp"),
    Column("status_code", Integer, comment="HTTP status of the answer; NULL where there was none"),
    Column("error", String(64), comment="code of why there was no answer"),
    Column("seconds", Double),
)
"""One row an attempt, made before anything is sent: none is missing here, however the process ended."""

disabled_endpoints = Table(
    "webhook_disabled_endpoints",
    metadata,
    Column("endpoint", String(64), primary_key=True, comment="SHA-256 of owner and URL"),
    Column("at", Double, nullable=False),
)
"""URLs that answered 410 Gone and that nobody has taken up again since."""

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("owner", String(128), primary_key=True),
    Column("generation", Integer, nullable=False, comment="1 is the first, which needs no row"),
    Column("rotated_at", Double, nullable=False),
)
"""Which generation of an owner's secret signs. The secrets themselves are stored nowhere."""
