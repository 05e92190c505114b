"""Jobs know the trace of the request that they came with."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables from the version before to this one."""
    op.add_column("jobs", sa.Column("traceparent", sa.String(64), comment="W3C Trace Context of its request"))
