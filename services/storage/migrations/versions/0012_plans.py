"""What an order's strategy planned: the stop of what it opens, also where no order carries one, and its timeframe."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; of orders that are there, the stop that was sent with them is what was planned."""
    for name in ("planned_stop", "timeframe"):
        op.add_column("orders", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    op.execute("UPDATE orders SET planned_stop = stop")


def downgrade() -> None:
    """Drop them."""
    for name in ("planned_stop", "timeframe"):
        op.drop_column("orders", name)
