"""Webhooks: what is to be delivered, and what came of it."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables from the version before to this one."""
    op.create_table(
        "webhook_disabled_endpoints",
        sa.Column("endpoint", sa.String(length=64), nullable=False, comment="SHA-256 of owner and URL"),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("endpoint", name=op.f("pk_webhook_disabled_endpoints")),
    )
    op.create_table(
        "webhook_secrets",
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False, comment="1 is the first, which needs no row"),
        sa.Column("rotated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_webhook_secrets")),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="order of the events",
        ),
        sa.Column(
            "id", sa.String(length=36), nullable=False, comment="UUID: the webhook-id of every attempt"
        ),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.String(length=64), nullable=False, comment="SHA-256 of owner and URL"),
        sa.Column(
            "receiver", sa.String(length=64), nullable=False, comment="SHA-256 of owner, host and port"
        ),
        sa.Column("kind", sa.String(length=64), nullable=False, comment="type of the event: job.succeeded …"),
        sa.Column(
            "payload", sa.Text(), nullable=False, comment="ASCII, byte for byte as it is signed and sent"
        ),
        sa.Column(
            "status",
            sa.Enum(
                "pending",
                "sending",
                "delivered",
                "failed",
                "disabled",
                name="deliverystatus",
                native_enum=False,
                length=16,
            ),
            nullable=False,
        ),
        sa.Column(
            "fence", sa.Integer(), nullable=False, comment="raised with every claim: number of the attempt"
        ),
        sa.Column(
            "tries",
            sa.Integer(),
            nullable=False,
            comment="attempts since the event, or since the last replay",
        ),
        sa.Column(
            "due_at",
            sa.Double(),
            nullable=False,
            comment="when it is to be claimed; of one that is: its lease",
        ),
        sa.Column("timed_at", sa.Double(), nullable=False, comment="when due_at was set"),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column(
            "opened_at",
            sa.Double(),
            nullable=False,
            comment="when it was made pending: first, or by a replay",
        ),
        sa.Column("ended_at", sa.Double(), nullable=True, comment="when it was delivered or given up"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_webhook_deliveries_job_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_webhook_deliveries")),
        sa.UniqueConstraint("id", name=op.f("uq_webhook_deliveries_id")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("webhook_deliveries", schema=None) as batch_op:
        batch_op.create_index("ix_webhook_deliveries_job_id_seq", ["job_id", "seq"], unique=False)
        batch_op.create_index("ix_webhook_deliveries_status_due_at", ["status", "due_at"], unique=False)
        batch_op.create_index("ix_webhook_deliveries_status_timed_at", ["status", "timed_at"], unique=False)

    op.create_table(
        "webhook_attempts",
        sa.Column("delivery_seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "number",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="1, 2, 3 … of a delivery",
        ),
        sa.Column("at", sa.Double(), nullable=False, comment="when it was claimed: the webhook-timestamp"),
        sa.Column(
            "status_code",
            sa.Integer(),
            nullable=True,
            comment="HTTP status of the answer; NULL where there was none",
        ),
        sa.Column("error", sa.String(length=64), nullable=True, comment="code of why there was no answer"),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["delivery_seq"],
            ["webhook_deliveries.seq"],
            name=op.f("fk_webhook_attempts_delivery_seq"),
        ),
        sa.PrimaryKeyConstraint("delivery_seq", "number", name=op.f("pk_webhook_attempts")),
    )
