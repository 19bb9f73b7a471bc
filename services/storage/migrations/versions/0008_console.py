"""The console: its users, their sessions and tokens, links that sign in once, and who did what."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "console_users",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("password", sa.Text, nullable=False),  # argon2
        _moment("changed"),
    )
    op.create_table(
        "console_sessions",
        sa.Column("session", sa.Text, primary_key=True),  # SHA-256 of what the holder shows
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),  # browser or token
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        _moment("created"),
        _moment("expires"),
    )
    op.create_table(
        "console_links",
        sa.Column("link", sa.Text, primary_key=True),  # SHA-256
        _moment("expires"),
    )
    op.create_table(
        "console_audit",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        _moment("at"),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("bot", sa.Text, nullable=False),
        sa.Column("pair", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("fields", sa.JSON, nullable=False),
        sa.Column("refused", sa.Boolean, nullable=False, server_default="false"),
        sa.Column("outcome", sa.Text),
    )
    op.create_index(
        "console_audit_by_key", "console_audit", ["bot", "key"], unique=True, postgresql_where=sa.text("key <> ''")
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("console_audit", "console_links", "console_sessions", "console_users"):
        op.drop_table(table)
