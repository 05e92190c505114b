"""Many recordings by one call."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables from the version before to this one."""
    op.create_table(
        "batches",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("key_id", sa.String(length=32), nullable=False, comment="of the key that it was sent with"),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("cancelled_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_batches")),
        sa.UniqueConstraint("id", name=op.f("uq_batches_id")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("batches", schema=None) as batch_op:
        batch_op.create_index("ix_batches_owner_seq", ["owner", "seq"], unique=False)

    op.create_table(
        "batch_items",
        sa.Column("batch_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "state", sa.String(length=16), nullable=False, comment="waiting, taken, refused or cancelled"
        ),
        sa.Column("source", sa.Text(), nullable=False, comment="what it is called to its owner"),
        sa.Column(
            "subject",
            sa.String(length=128),
            nullable=True,
            comment="whom the recording is about, while it waits",
        ),
        sa.Column(
            "submission",
            sa.Text(),
            nullable=True,
            comment="what was asked for, encrypted; NULL once it is decided",
        ),
        sa.Column(
            "place",
            sa.String(length=36),
            nullable=True,
            comment="folder of uploads that has its recording; NULL: any replica can",
        ),
        sa.Column(
            "new_job_id", sa.String(length=36), nullable=False, comment="that its job gets, in whichever try"
        ),
        sa.Column("job_id", sa.String(length=64), nullable=True, comment="that it has become; NULL: none"),
        sa.Column("repeated", sa.Boolean(), nullable=False, comment="whether that job was there before"),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=True, comment="until then somebody takes it in"),
        sa.Column(
            "not_before", sa.Double(), nullable=True, comment="when it may be tried again; NULL: at once"
        ),
        sa.Column("error", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(["batch_seq"], ["batches.seq"], name=op.f("fk_batch_items_batch_seq")),
        sa.PrimaryKeyConstraint("batch_seq", "number", name=op.f("pk_batch_items")),
    )
    with op.batch_alter_table("batch_items", schema=None) as batch_op:
        batch_op.create_index("ix_batch_items_job_id", ["job_id"], unique=False)
        batch_op.create_index("ix_batch_items_state_number", ["state", "number"], unique=False)
