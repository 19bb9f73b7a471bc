"""Jobs that workers take, and what the schedule has done."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ACTIVE = sa.text("status IN ('queued', 'running')")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "jobs",
        sa.Column("job", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("request_hash", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("delivery", sa.BigInteger),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("lost", sa.Integer, nullable=False, server_default="0"),
        sa.Column("worker", sa.Text),
        sa.Column("done", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("total", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("session", sa.Text),
        sa.Column("best", sa.JSON),
        sa.Column("best_writes", sa.Integer, nullable=False, server_default="0"),
        sa.Column("result", sa.JSON),
        sa.Column("fault", sa.Text),
        sa.Column("queued", sa.DateTime(timezone=True), nullable=False),
        sa.Column("began", sa.DateTime(timezone=True)),
        sa.Column("heartbeat", sa.DateTime(timezone=True)),
        sa.Column("ended", sa.DateTime(timezone=True)),
    )
    # The same request of the same owner waits or runs once.
    columns = ["owner", "kind", "request_hash"]
    op.create_index("jobs_active", "jobs", columns, unique=True, postgresql_where=ACTIVE)
    op.create_index("jobs_by_owner", "jobs", ["owner", "job"])
    op.create_table(
        "scheduled_runs",
        sa.Column("run", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("began", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended", sa.DateTime(timezone=True)),
        sa.Column("missed", sa.Integer, nullable=False),
        sa.Column("said", sa.Text),
        sa.Column("fault", sa.Text),
    )
    op.create_index("scheduled_runs_by_name", "scheduled_runs", ["name", "began"])


def downgrade() -> None:
    """Drop them."""
    for table in ("scheduled_runs", "jobs"):
        op.drop_table(table)
