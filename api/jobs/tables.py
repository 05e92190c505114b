"""The tables of jobs: what is stored, and by which way it is found."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    Enum,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from api.database import metadata
from api.encryption.fields import EncryptedJSON, EncryptedText
from api.jobs.model import JobStatus

_Counter = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up INTEGER keys only.

# By value, as plain text: a status that is added later changes no table.
_STATUS = Enum(JobStatus, native_enum=False, length=16, values_callable=lambda kind: [s.value for s in kind])

jobs = Table(
    "jobs",
    metadata,
    # Times are seconds since 1970 by the database's clock. Order never depends on them: that clock may jump.
    Column("seq", _Counter, primary_key=True, comment="order of acceptance"),
    Column("id", String(64), nullable=False),
    Column("owner", String(128), nullable=False),
    Column("status", _STATUS, nullable=False),
    Column("place", BigInteger, nullable=False, comment="order of queueing: the lower, the longer it waits"),
    Column("filename", EncryptedText("jobs.filename"), nullable=False),
    Column(
        "filename_folded",
        EncryptedText("jobs.filename_folded"),
        nullable=False,
        comment="what a search compares with",
    ),
    Column("input_path", Text),
    Column("input_sha256", String(64), nullable=False),
    Column("input_bytes", BigInteger, nullable=False),
    Column("options", JSON, nullable=False),
    Column("metadata", EncryptedJSON("jobs.metadata"), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("level", Integer, nullable=False, comment="its priority, raised while it waits"),
    Column("turn", BigInteger, nullable=False, comment="which of its owner's turns among jobs of its level"),
    Column("ranked_at", Double, nullable=False, comment="when it was given its level and turn"),
    Column("webhook_url", Text),
    Column("content_key", String(128)),
    Column(
        "subject",
        EncryptedText("jobs.subject", found=True),
        comment="whom the recording is about, as its owner calls them",
    ),
    Column("retention_days", Integer, comment="of its audio; 0: for ever; NULL: the service's"),
    Column("traceparent", String(64), comment="W3C Trace Context of its request"),
    Column("attempt", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("deaths", Integer, nullable=False, comment="attempts whose lease ran out"),
    Column("fence", BigInteger, nullable=False),
    Column("worker", String(255)),
    Column("leased_at", Double, comment="when the lease was last renewed"),
    Column("lease_until", Double),
    Column("cancel_requested", Boolean, nullable=False),
    Column("progress", Double, nullable=False),
    Column("stage", String(64)),
    Column("stages", JSON, nullable=False),
    Column("eta_s", Double),
    Column("duration_s", Double),
    Column("told_at", Double, comment="when its last progress event was appended"),
    Column("told_progress", Double, nullable=False, comment="what that event said"),
    Column("error", EncryptedJSON("jobs.error", none_as_null=True)),
    Column("created_at", Double, nullable=False),
    Column("queued_at", Double, nullable=False),
    Column("not_before", Double, comment="when a failed attempt may be repeated; NULL: at once"),
    Column("started_at", Double),
    Column("finished_at", Double),
    UniqueConstraint("id"),
    Index("ix_jobs_owner_seq", "owner", "seq"),
    Index("ix_jobs_owner_content_key", "owner", "content_key"),
    Index("ix_jobs_subject", "subject"),
    Index("ix_jobs_status_level_turn_place", "status", "level", "turn", "place"),
    Index("ix_jobs_status_seq", "status", "seq"),
    Index("ix_jobs_place", "place"),
    Index("ix_jobs_created_at", "created_at"),
    sqlite_autoincrement=True,
)
"""One row a job; see `api.jobs.model.Job` for what most columns mean."""

job_events = Table(
    "job_events",
    metadata,
    Column("id", _Counter, primary_key=True, comment="rises over all jobs, in the order of the transactions"),
    Column("job_id", String(64), ForeignKey("jobs.id"), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("data", EncryptedJSON("job_events.data"), nullable=False),
    Column("at", Double, nullable=False),
    Index("ix_job_events_job_id_id", "job_id", "id"),
    sqlite_autoincrement=True,  # An id that was given out never comes again, also after rows were deleted.
)
"""What happened to jobs; appended in the transaction that made it happen."""

totals = Table(
    "totals",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("label", String(64), primary_key=True, comment="empty where there is none"),
    Column("bucket", String(16), primary_key=True, comment="upper bound, or sum; empty: a plain count"),
    Column("value", Double, nullable=False),
)
"""What was counted of jobs since the beginning: see `api.jobs.totals`."""

workers = Table(
    "workers",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False, comment="when it last said that it is there"),
    Column("job_id", String(64), comment="that it runs; NULL: none"),
    Column("model", String(64), comment="that it keeps loaded; NULL: none"),
    Column("device", String(16), nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
)
"""One row a worker process: see `api.jobs.workers`."""

job_speeds = Table(
    "job_speeds",
    metadata,
    Column("seq", _Counter, primary_key=True, comment="order in which jobs ended"),
    Column("at", Double, nullable=False),
    Column("model", String(64), nullable=False),
    Column("arithmetic", String(16), nullable=False, comment="exact or balanced"),
    Column("device", String(16), nullable=False),
    Column("threads", Integer, nullable=False),
    Column("set_up_s", Double, nullable=False, comment="until the model was ready"),
    Column("pass_s", Double, nullable=False, comment="a segment and a network"),
    Column("decode_s", Double, nullable=False, comment="a second of audio"),
    Column("estimate_s", Double, comment="a second of audio and an estimator; NULL: there was none"),
    Column("encode_s", Double, comment="a second of audio and a file; NULL: there was none"),
    Column("rest_s", Double, nullable=False, comment="the other stages"),
    Index("ix_job_speeds_kind", "model", "arithmetic", "device", "threads", "seq"),
    sqlite_autoincrement=True,
)
"""What finished jobs have shown of the machine's speed: see `api.jobs.speed`."""

stretches = Table(
    "stretches",
    metadata,
    Column("job_id", String(64), ForeignKey("jobs.id"), primary_key=True),
    Column(
        "identity", String(64), primary_key=True, comment="of the separation, as `pipeline.stretches` has it"
    ),
    Column("begin", BigInteger, primary_key=True, comment="its first sample", autoincrement=False),
    Column("fence", BigInteger, nullable=False, comment="of the attempt that offers it"),
    Column("worker", String(255), comment="who makes it, or has; NULL: nobody"),
    Column("lease_until", Double),
    Column("made", Boolean, nullable=False),
    Index("ix_stretches_worker", "worker"),
)
"""Stretches of long separations that any worker may make; they go when their job ends."""

store_checks = Table(
    "store_checks",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
)
"""One row that is written to find out whether the database can be written."""

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("owner", String(128), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(128), nullable=False, comment="of the request"),
    Column("job_id", String(36), nullable=False, comment="the id that the request's job gets"),
    Column("fence", Integer, nullable=False, comment="raised whenever the request is begun again"),
    Column("lease_until", Double, nullable=False, comment="until then an unfinished request counts as alive"),
    Column("expires_at", Double, nullable=False),
    Column("status", Integer, comment="HTTP status of the answer; NULL while there is none"),
    Column("headers", JSON(none_as_null=True)),
    Column("body", LargeBinary),
    Index("ix_idempotency_keys_expires_at", "expires_at"),
)
"""Requests that carried an Idempotency-Key, and their answers."""
