"""What operators are to be told."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables from the version before to this one."""
    op.create_table(
        "notices",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "receiver", sa.String(length=64), nullable=False, comment="SHA-256 of its URL, which is secret"
        ),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="failures, summary or admission"),
        sa.Column("level", sa.String(length=16), nullable=False, comment="info, success, warning or failure"),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False, comment="raised with every claim"),
        sa.Column(
            "due_at",
            sa.Double(),
            nullable=False,
            comment="when it is to be claimed; of one that is: its lease",
        ),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_notices")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("notices", schema=None) as batch_op:
        batch_op.create_index("ix_notices_due_at", ["due_at"], unique=False)
    op.create_table(
        "notice_marks",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("number", sa.Double(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False, comment="when it was set"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_notice_marks")),
    )
