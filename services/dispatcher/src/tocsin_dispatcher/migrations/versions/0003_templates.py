"""Banks' templates: their versions, which are in force, and trials.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "templates",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column(
            "locale", sa.Text(), nullable=True, comment="BCP 47; null: for every locale that the bank has none for"
        ),
        sa.Column("version", sa.Integer(), nullable=False, comment="counts from 1 within kind, channel and locale"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "subject",
            sa.Text(),
            nullable=False,
            comment="empty: the channel has none, or the built-in one is used",
        ),
        sa.Column("body", sa.Text(), nullable=False, comment="plain text"),
        sa.Column("html", sa.Text(), nullable=False, comment="of e-mail only"),
        sa.Column("variables", postgresql.ARRAY(sa.Text()), nullable=False, comment="those its sources use"),
        sa.Column("active", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "replaced",
            postgresql.ARRAY(sa.Uuid()),
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="the versions that were active before this one, the last one last",
        ),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False, comment="the token's subject"),
        sa.Column("failures", sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment="at send time"),
        sa.Column("last_failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_failure", sa.Text(), nullable=True, comment="the part, the line and why; never a value"),
        sa.CheckConstraint("channel IN ('email', 'sms', 'in_app', 'push')", name="templates_channel"),
        sa.PrimaryKeyConstraint("partner_id", "id"),
    )
    op.create_index(
        "templates_versions",
        "templates",
        ["partner_id", "kind", "channel", "locale", "version"],
        unique=True,
        postgresql_nulls_not_distinct=True,
    )
    op.create_index(
        "templates_active",
        "templates",
        ["partner_id", "kind", "channel", "locale"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("active"),
    )
    op.create_index(
        "templates_listed",
        "templates",
        ["partner_id", sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_table(
        "template_partners",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False, comment="rises when another version becomes active"),
        sa.Column("trials_on", sa.Date(), nullable=True, comment="the day, in UTC, whose trials are counted"),
        sa.Column("trials", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("partner_id"),
    )
    op.create_table(
        "template_trials",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("template_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False, comment="as rendered when it was asked for"),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("html", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["partner_id", "delivery_id"], ["deliveries.partner_id", "deliveries.id"], ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("partner_id", "delivery_id"),
    )


def downgrade() -> None:
    """Drop them: what they held is lost."""
    for table in ("template_trials", "template_partners", "templates"):
        op.drop_table(table)
