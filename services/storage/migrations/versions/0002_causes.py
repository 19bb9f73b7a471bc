"""Why each execution happened: an order, the position's stop, funding, or force."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Name the cause; until now there were orders and funding."""
    op.add_column("fills", sa.Column("cause", sa.Text, nullable=False, server_default="order"))
    op.execute("UPDATE fills SET cause = 'funding' WHERE funding")
    op.drop_column("fills", "funding")


def downgrade() -> None:
    """Forget all causes but funding."""
    op.add_column("fills", sa.Column("funding", sa.Boolean, nullable=False, server_default="false"))
    op.execute("UPDATE fills SET funding = true WHERE cause = 'funding'")
    op.drop_column("fills", "cause")
