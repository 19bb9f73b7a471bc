"""How much an operator's command adds to the capital."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("commands", sa.Column("amount", sa.Float(53), nullable=False, server_default="0"))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("commands", "amount")
