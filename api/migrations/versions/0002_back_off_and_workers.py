"""Back-off of failed attempts and a register of workers."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables from the version before to this one."""
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "level",
                sa.Integer(),
                nullable=False,
                server_default="0",
                comment="its priority, raised while it waits",
            )
        )
        batch_op.add_column(
            sa.Column(
                "turn",
                sa.BigInteger(),
                nullable=False,
                server_default="0",
                comment="which of its owner's turns among jobs of its level",
            )
        )
        batch_op.add_column(
            sa.Column(
                "ranked_at",
                sa.Double(),
                nullable=False,
                server_default="0",
                comment="when it was given its level and turn",
            )
        )
        batch_op.add_column(
            sa.Column(
                "not_before",
                sa.Double(),
                nullable=True,
                comment="when a failed attempt may be repeated; NULL: at once",
            )
        )
        batch_op.drop_index("ix_jobs_status_priority_place")
        batch_op.create_index(
            "ix_jobs_status_level_turn_place", ["status", "level", "turn", "place"], unique=False
        )
        batch_op.create_index("ix_jobs_status_seq", ["status", "seq"], unique=False)
    # Turns are all alike then, so that those that wait keep their order.
    op.execute("UPDATE jobs SET level = priority, ranked_at = queued_at")

    with op.batch_alter_table("api_keys", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "max_priority",
                sa.Integer(),
                nullable=False,
                server_default="0",
                comment="highest that it may ask for",
            )
        )
    # The service's own keys may do everything.
    op.execute("UPDATE api_keys SET max_priority = 9 WHERE source IN ('first', 'setting')")

    op.create_table(
        "totals",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False, comment="empty where there is none"),
        sa.Column(
            "bucket",
            sa.String(length=16),
            nullable=False,
            comment="upper bound, or sum; empty: a plain count",
        ),
        sa.Column("value", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", "label", "bucket", name=op.f("pk_totals")),
    )
    op.create_table(
        "workers",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False, comment="when it last said that it is there"),
        sa.Column("job_id", sa.String(length=64), nullable=True, comment="that it runs; NULL: none"),
        sa.Column("model", sa.String(length=64), nullable=True, comment="that it keeps loaded; NULL: none"),
        sa.Column("device", sa.String(length=16), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workers")),
    )
