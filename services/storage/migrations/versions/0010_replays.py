"""Sessions of the manual backtester as their actions, the journal of trades, and what of it is still to be sent."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "replays",
        sa.Column("replay", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("setup", sa.JSON, nullable=False),
        sa.Column("undone", sa.Integer, nullable=False),
        sa.Column("created", moment, nullable=False),
        sa.Column("ended", moment),
    )
    op.create_table(
        "replay_actions",
        sa.Column("replay", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("action", sa.JSON, nullable=False),
    )
    op.create_table(
        "journal",
        sa.Column("record", sa.Text, primary_key=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("entered", moment, nullable=False),
        sa.Column("left", moment, nullable=False),
        sa.Column("trade", sa.JSON, nullable=False),
        sa.Column("pictures", sa.JSON, nullable=False),
        sa.Column("notes", sa.Text, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
    )
    op.create_index("journal_by_left", "journal", ["left", "record"])
    op.create_table(
        "journal_outbox",
        sa.Column("record", sa.Text, primary_key=True),
        sa.Column("revision", sa.Integer, primary_key=True),
        sa.Column("target", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("due", moment, nullable=False),
        sa.Column("fault", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("journal_outbox", "journal", "replay_actions", "replays"):
        op.drop_table(table)
