"""Subjects, retention by key, legal holds, and an audit log that can forget words."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables from the version before to this one."""
    op.add_column(
        "jobs",
        sa.Column("subject", sa.String(128), comment="whom the recording is about, as its owner calls them"),
    )
    op.add_column(
        "jobs",
        sa.Column("retention_days", sa.Integer(), comment="of its audio; 0: for ever; NULL: the service's"),
    )
    op.create_index("ix_jobs_subject", "jobs", ["subject"])
    op.add_column(
        "api_keys",
        sa.Column(
            "retention_days", sa.Integer(), comment="of its jobs' audio; 0: for ever; NULL: the service's"
        ),
    )
    for name, length, comment in (
        ("who_salt", 32, "empty: erased"),
        ("who", 64, "hash of user, key, address"),
        ("what_salt", 32, "likewise"),
        ("what", 64, "hash of input, output, request"),
    ):
        op.add_column(
            "audit_log",
            sa.Column(name, sa.String(length), nullable=False, server_default="", comment=comment),
        )
    op.create_index("ix_audit_log_user", "audit_log", ["user"])
    op.create_table(
        "legal_holds",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False, comment="job or owner"),
        sa.Column("target", sa.String(128), nullable=False, comment="id of the job, or name of the owner"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("placed_by", sa.String(128), nullable=False),
        sa.Column("placed_at", sa.Double(), nullable=False),
        sa.Column("released_at", sa.Double(), comment="NULL: it holds"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_legal_holds")),
    )
    op.create_index("ix_legal_holds_kind_target", "legal_holds", ["kind", "target"])
