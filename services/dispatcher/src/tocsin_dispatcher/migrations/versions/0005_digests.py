"""An index on what is held and may leave as one message with others of its person and channel.

Small: rows leave it when they are sent.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    op.create_index(
        "deliveries_held_together",
        "deliveries",
        ["partner_id", "user_id", "channel", "due_at"],
        unique=False,
        postgresql_where=sa.text(
            "purpose = 'alert' AND attempt = 0 AND merged_into IS NULL AND status IN ('held', 'pending')"
            " AND reason IN ('daily_digest', 'quiet_hours', 'rate_limited', 'flood')"
        ),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_index("deliveries_held_together", table_name="deliveries")
