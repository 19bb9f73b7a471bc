"""Searches: what was asked, a row for each variant that was scored, and what is known of chance."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "sessions",
        sa.Column("session", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("snapshot", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("result", sa.JSON),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended", sa.DateTime(timezone=True)),
    )
    op.create_index("sessions_by_snapshot", "sessions", ["snapshot"])
    op.create_table(
        "trials",
        sa.Column("session", sa.Text, sa.ForeignKey("sessions.session", ondelete="CASCADE"), primary_key=True),
        sa.Column("part", sa.Integer, primary_key=True),
        sa.Column("variant", sa.BigInteger, primary_key=True),
        sa.Column("score", ARRAY(sa.Float(53)), nullable=False),
        sa.Column("blocks", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "looks",
        sa.Column("session", sa.Text, sa.ForeignKey("sessions.session", ondelete="CASCADE"), primary_key=True),
        sa.Column("part", sa.Integer, primary_key=True),
        sa.Column("state", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("looks", "trials", "sessions"):
        op.drop_table(table)
