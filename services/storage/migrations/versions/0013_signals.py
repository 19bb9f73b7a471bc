"""Signals of others that came for a bot, before it acted on them; their numbers are in the order in which they came."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "signals",
        sa.Column("bot", sa.Text, primary_key=True),
        sa.Column("symbol", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True),  # of the pair, rising by one
        sa.Column("signal", sa.Text, nullable=False),  # the sender's name of it
        sa.Column("direction", sa.BigInteger, nullable=False),  # 1 long, -1 short, 0 to leave
        sa.Column("stop", sa.Float, nullable=False),  # quote currency, as the next
        sa.Column("target", sa.Float, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("bot", "signal"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("signals")
