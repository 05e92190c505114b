"""The tables of notices: what operators are to be told, and up to where they have been."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, String, Table, Text

from api.database import metadata

notices = Table(
    "notices",
    metadata,
    # Times are seconds since 1970 by the database's clock.
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("receiver", String(64), nullable=False, comment="SHA-256 of its URL, which is secret"),
    Column("kind", String(16), nullable=False, comment="failures, summary or admission"),
    Column("level", String(16), nullable=False, comment="info, success, warning or failure"),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("tries", Integer, nullable=False, comment="raised with every claim"),
    Column("due_at", Double, nullable=False, comment="when it is to be claimed; of one that is: its lease"),
    Column("created_at", Double, nullable=False),
    Index("ix_notices_due_at", "due_at"),
    sqlite_autoincrement=True,
)
"""One row a message and receiver that is still to be sent; it goes when it is sent or given up."""

notice_marks = Table(
    "notice_marks",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("number", Double, nullable=False),
    Column("text", Text, nullable=False),
    Column("at", Double, nullable=False, comment="when it was set"),
)
"""What was told last: changed in the transaction that writes the notices down, so that each is told once."""
