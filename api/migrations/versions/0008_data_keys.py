"""Keys of jobs whose files are encrypted, and room for subjects that are."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables from the version before to this one."""
    op.create_table(
        "data_keys",
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("master", sa.String(128), nullable=False, comment="name of the master key that wraps it"),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("made_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_data_keys")),
    )
    op.create_index("ix_data_keys_master", "data_keys", ["master"])
    # SQLite changes no column's type; a new column it takes, in both databases at no great cost.
    op.drop_index("ix_jobs_subject", "jobs")
    op.add_column(
        "jobs",
        sa.Column("subject_text", sa.Text(), comment="whom the recording is about, as its owner calls them"),
    )
    op.execute("UPDATE jobs SET subject_text = subject WHERE subject IS NOT NULL")
    op.drop_column("jobs", "subject")
    op.alter_column("jobs", "subject_text", new_column_name="subject")
    op.create_index("ix_jobs_subject", "jobs", ["subject"])
