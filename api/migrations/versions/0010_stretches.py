"""Stretches of long separations that any worker may make."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables from the version before to this one."""
    op.create_table(
        "stretches",
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column(
            "identity",
            sa.String(64),
            nullable=False,
            comment="of the separation, as `pipeline.stretches` has it",
        ),
        sa.Column("begin", sa.BigInteger(), nullable=False, comment="its first sample"),
        sa.Column("fence", sa.BigInteger(), nullable=False, comment="of the attempt that offers it"),
        sa.Column("worker", sa.String(255), comment="who makes it, or has; NULL: nobody"),
        sa.Column("lease_until", sa.Double()),
        sa.Column("made", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_stretches_job_id")),
        sa.PrimaryKeyConstraint("job_id", "identity", "begin", name=op.f("pk_stretches")),
    )
    op.create_index("ix_stretches_worker", "stretches", ["worker"])
