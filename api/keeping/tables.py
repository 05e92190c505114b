"""The table of legal holds."""

from __future__ import annotations

from sqlalchemy import Column, Double, Index, String, Table, Text

from api.database import metadata

legal_holds = Table(
    "legal_holds",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(16), nullable=False, comment="job or owner"),
    Column("target", String(128), nullable=False, comment="id of the job, or name of the owner"),
    Column("reason", Text, nullable=False),
    Column("placed_by", String(128), nullable=False),
    # Times are seconds since 1970.
    Column("placed_at", Double, nullable=False),
    Column("released_at", Double, comment="NULL: it holds"),
    Index("ix_legal_holds_kind_target", "kind", "target"),
)
"""One row a hold; a released one stays, to show that it was there."""
