"""What finished jobs have shown of the machine's speed."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables from the version before to this one."""
    op.create_table(
        "job_speeds",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="order in which jobs ended",
        ),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("arithmetic", sa.String(length=16), nullable=False, comment="exact or balanced"),
        sa.Column("device", sa.String(length=16), nullable=False),
        sa.Column("threads", sa.Integer(), nullable=False),
        sa.Column("set_up_s", sa.Double(), nullable=False, comment="until the model was ready"),
        sa.Column("pass_s", sa.Double(), nullable=False, comment="a segment and a network"),
        sa.Column("decode_s", sa.Double(), nullable=False, comment="a second of audio"),
        sa.Column(
            "estimate_s",
            sa.Double(),
            nullable=True,
            comment="a second of audio and an estimator; NULL: there was none",
        ),
        sa.Column(
            "encode_s",
            sa.Double(),
            nullable=True,
            comment="a second of audio and a file; NULL: there was none",
        ),
        sa.Column("rest_s", sa.Double(), nullable=False, comment="the other stages"),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_job_speeds")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("job_speeds", schema=None) as batch_op:
        batch_op.create_index(
            "ix_job_speeds_kind", ["model", "arithmetic", "device", "threads", "seq"], unique=False
        )
