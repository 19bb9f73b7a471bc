"""Memory, orders, fills, notes, snapshots."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _at() -> "sa.Column[datetime]":
    return sa.Column("at", sa.DateTime(timezone=True), nullable=False)


def _whole(*names: str) -> "list[sa.Column[int]]":
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "memory",
        sa.Column("bot", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("layout", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        _at(),
    )
    op.create_table(
        "orders",
        sa.Column("bot", sa.Text, primary_key=True),
        sa.Column("link", sa.Text, primary_key=True),
        sa.Column("symbol", sa.Text, nullable=False),
        *_whole("slot", "generation", "side", "kind", "price", "lots"),
        sa.Column("reduce_only", sa.Boolean, nullable=False),
        sa.Column("post_only", sa.Boolean, nullable=False),
        *_whole("signal", "part", "entry", "stop"),
        _at(),
    )
    op.create_index("orders_by_symbol", "orders", ["bot", "symbol", "at"])
    op.create_table(
        "fills",
        sa.Column("bot", sa.Text, primary_key=True),
        sa.Column("execution", sa.Text, primary_key=True),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("link", sa.Text, nullable=False),
        *_whole("side", "price", "lots"),
        sa.Column("fee", sa.Double, nullable=False),
        sa.Column("maker", sa.Boolean, nullable=False),
        sa.Column("funding", sa.Boolean, nullable=False),
        sa.Column("position", sa.BigInteger),
        sa.Column("realised", sa.Double),
        _at(),
    )
    op.create_index("fills_by_symbol", "fills", ["bot", "symbol", "at"])
    op.create_table(
        "notes",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("bot", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        *_whole("a", "b", "c"),
        *(sa.Column(name, sa.Double, nullable=False) for name in ("x", "y", "z", "w", "v")),
        _at(),
    )
    op.create_index("notes_by_time", "notes", ["bot", "at"])
    op.create_table(
        "snapshots",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("bot", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("schema", sa.Text, nullable=False),
        sa.Column("state", JSONB, nullable=False),
        _at(),
    )
    op.create_index("snapshots_by_name", "snapshots", ["bot", "name", "at"])


def downgrade() -> None:
    """Drop them."""
    for table in ("snapshots", "notes", "fills", "orders", "memory"):
        op.drop_table(table)
