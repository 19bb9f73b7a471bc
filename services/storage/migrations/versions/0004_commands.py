"""What operators have said, and what became of it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "commands",
        sa.Column("bot", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("command", sa.Text, nullable=False),
        sa.Column("pair", sa.Text, nullable=False),
        sa.Column("force", sa.Boolean, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("refused", sa.Boolean, nullable=False, server_default="false"),
        sa.Column("outcome", sa.Text),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("commands_by_time", "commands", ["bot", "at"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("commands")
