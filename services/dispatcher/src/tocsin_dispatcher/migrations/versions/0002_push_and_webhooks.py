"""Where push messages and webhooks go: subscriptions, endpoints and their secrets.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "push_subscriptions",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False, comment="the push service's host"),
        sa.Column("endpoint_hash", sa.LargeBinary(), nullable=False, comment="keyed: who knows the URL may send"),
        sa.Column("sealed", sa.LargeBinary(), nullable=False, comment="the URL and the browser's keys, encrypted"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tested_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("partner_id", "id"),
    )
    op.create_index("push_subscriptions_once", "push_subscriptions", ["partner_id", "endpoint_hash"], unique=True)
    op.create_index(
        "push_subscriptions_of_user", "push_subscriptions", ["partner_id", "user_id", "created_at", "id"], unique=False
    )
    op.create_table(
        "webhook_endpoints",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=True, comment="null: the partner's own"),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("shown", sa.Text(), nullable=False, comment="the URL without path and query"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kinds", postgresql.ARRAY(sa.Text()), nullable=False, comment="empty: every kind"),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True, comment="when it answered 410"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tested_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("partner_id", "id"),
    )
    op.create_index(
        "webhook_endpoints_of_user", "webhook_endpoints", ["partner_id", "user_id", "created_at", "id"], unique=False
    )
    op.create_table(
        "webhook_secrets",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False, comment="the secret, encrypted"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True, comment="null: the newest one"),
        sa.ForeignKeyConstraint(
            ["partner_id", "endpoint_id"], ["webhook_endpoints.partner_id", "webhook_endpoints.id"], ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("partner_id", "endpoint_id", "id"),
    )


def downgrade() -> None:
    """Drop them: what they held is lost."""
    for table in ("webhook_secrets", "webhook_endpoints", "push_subscriptions"):
        op.drop_table(table)
