"""Second factors of the console's users: the last code that was taken, and the recovery codes that are left."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "console_second_factors",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("counter", sa.BigInteger, nullable=False),  # of the last code: none before it is taken again
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "console_recovery_codes",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("code", sa.Text, primary_key=True),  # argon2
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("console_recovery_codes")
    op.drop_table("console_second_factors")
