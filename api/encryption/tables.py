"""The table of the jobs' keys."""

from __future__ import annotations

from sqlalchemy import Column, Double, Index, LargeBinary, String, Table

from api.database import metadata

data_keys = Table(
    "data_keys",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("master", String(128), nullable=False, comment="name of the master key that wraps it"),
    Column("wrapped", LargeBinary, nullable=False),
    # Seconds since 1970.
    Column("made_at", Double, nullable=False),
    Index("ix_data_keys_master", "master"),
)
"""One row a job whose files are encrypted. Without it, nobody can read them."""
