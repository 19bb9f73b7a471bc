"""Saved strategies, and how far the last run of each bot is."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "strategies",
        sa.Column("content", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("strategy", sa.Text, nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
        sa.Column("cloned_from", sa.Text),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "strategy_runs",
        sa.Column("bot", sa.Text, primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text),
    )
    op.create_index("strategy_runs_by_content", "strategy_runs", ["content"])


def downgrade() -> None:
    """Drop them."""
    for table in ("strategy_runs", "strategies"):
        op.drop_table(table)
