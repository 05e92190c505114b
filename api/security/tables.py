"""The tables of API keys and of the audit log."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, String, Table, Text, UniqueConstraint

from api.database import metadata

api_keys = Table(
    "api_keys",
    metadata,
    # Times are seconds since 1970.
    Column("id", String(32), primary_key=True),
    Column("name", String(64), nullable=False),
    Column(
        "owner", String(64), nullable=False, comment="whose jobs it sees; several keys may have one owner"
    ),
    Column("source", String(16), nullable=False, comment="made by: cli, first (start) or setting (API_KEY)"),
    Column("shown", String(16), nullable=False, comment="first characters, to recognise it by"),
    Column("hash", String(64), nullable=False, comment="HMAC-SHA-256 of the key, hexadecimal"),
    Column("secret", String(16), nullable=False, comment="fingerprint of the server's secret that hashed it"),
    Column("scopes", String(128), nullable=False, comment="separated by blanks"),
    Column("jobs_per_day", Integer),
    Column("audio_s_per_month", Double),
    Column(
        "max_priority", Integer, nullable=False, server_default="0", comment="highest that it may ask for"
    ),
    Column("created_at", Double, nullable=False),
    Column("retention_days", Integer, comment="of its jobs' audio; 0: for ever; NULL: the service's"),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("last_used_at", Double),
    UniqueConstraint("hash"),
    Index("ix_api_keys_owner", "owner"),
)
"""One row a key. The key itself is stored nowhere."""

audit_log = Table(
    "audit_log",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False, comment="1, 2, 3 … without a gap"),
    Column("at", String(32), nullable=False, comment="UTC, ISO 8601"),
    Column("user", String(64), nullable=False),
    Column("key_id", String(32), nullable=False),
    Column("action", String(64), nullable=False),
    Column("input", Text, nullable=False),
    Column("output", Text, nullable=False),
    Column("status", String(64), nullable=False),
    Column("job_id", String(64), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("address", String(64), nullable=False),
    Column("previous", String(64), nullable=False, comment="hash of the entry before"),
    Column("hash", String(64), nullable=False),
    Column("who_salt", String(32), nullable=False, server_default="", comment="empty: erased"),
    Column("who", String(64), nullable=False, server_default="", comment="hash of user, key, address"),
    Column("what_salt", String(32), nullable=False, server_default="", comment="likewise"),
    Column("what", String(64), nullable=False, server_default="", comment="hash of input, output, request"),
    Index("ix_audit_log_job_id", "job_id"),
    Index("ix_audit_log_user", "user"),
)
"""One row an action; rows are only ever added, and each holds the hash of the one before.

Personal words are hashed by themselves, with a salt each, and only those hashes are chained: erasing words
and salt leaves the chain whole, and nobody can guess the words from their hash.
"""

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("seal", String(64), nullable=False, comment="made with the server's secret"),
)
"""One row: where the audit log ends."""
