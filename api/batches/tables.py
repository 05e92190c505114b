"""The tables of batches."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from api.database import metadata

batches = Table(
    "batches",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("id", String(36), nullable=False),
    Column("owner", String(128), nullable=False),
    Column("key_id", String(32), nullable=False, comment="of the key that it was sent with"),
    Column("created_at", Double, nullable=False),
    Column("cancelled_at", Double),
    UniqueConstraint("id"),
    Index("ix_batches_owner_seq", "owner", "seq"),
    sqlite_autoincrement=True,
)
"""One row a batch."""

batch_items = Table(
    "batch_items",
    metadata,
    Column("batch_seq", BigInteger, ForeignKey("batches.seq"), primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False, comment="waiting, taken, refused or cancelled"),
    Column("source", Text, nullable=False, comment="what it is called to its owner"),
    Column("subject", String(128), comment="whom the recording is about, while it waits"),
    Column("submission", Text, comment="what was asked for, encrypted; NULL once it is decided"),
    Column("place", String(36), comment="folder of uploads that has its recording; NULL: any replica can"),
    Column("new_job_id", String(36), nullable=False, comment="that its job gets, in whichever try"),
    Column("job_id", String(64), comment="that it has become; NULL: none"),
    Column("repeated", Boolean, nullable=False, comment="whether that job was there before"),
    Column("tries", Integer, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("lease_until", Double, comment="until then somebody takes it in"),
    Column("not_before", Double, comment="when it may be tried again; NULL: at once"),
    Column("error", JSON(none_as_null=True)),
    Index("ix_batch_items_state_number", "state", "number"),
    Index("ix_batch_items_job_id", "job_id"),
)
"""One row an item of a batch."""
