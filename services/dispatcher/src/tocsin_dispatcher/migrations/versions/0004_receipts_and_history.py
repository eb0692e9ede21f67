"""What happened to deliveries, suppressions that can be listed, verifications, and dead letters that are tried again.

`delivery_events` live as long as their delivery (180 days unless set otherwise): they go with it. `verifications` and
`verification_counts` are kept for a day or two, `dead_letter_retries` as long as their letter (90 days).

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables, columns and indexes."""
    op.create_table(
        "delivery_events",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="their order"),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("happening", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True, comment="of what is held or waits"),
        sa.Column("joined_id", sa.Uuid(), nullable=True, comment="the delivery it was merged into"),
        sa.ForeignKeyConstraint(
            ["partner_id", "delivery_id"], ["deliveries.partner_id", "deliveries.id"], ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("partner_id", "delivery_id", "id"),
    )
    op.create_index(
        "deliveries_ended_badly",
        "deliveries",
        ["failed_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('failed', 'expired')"),
    )
    op.add_column(
        "suppressions", sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False)
    )
    op.add_column(
        "suppressions",
        sa.Column(
            "said_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when it was last said; null: it was taken back before it was said, should that come late",
        ),
    )
    op.add_column("suppressions", sa.Column("lifted_by", sa.Text(), nullable=True))
    op.add_column("suppressions", sa.Column("note", sa.Text(), nullable=True, comment="by who put it there by hand"))
    op.execute("UPDATE suppressions SET said_at = at")
    op.create_index("suppressions_by_id", "suppressions", ["partner_id", "id"], unique=True)
    op.create_index(
        "suppressions_of_partner",
        "suppressions",
        ["partner_id", sa.text("at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index("suppressions_listed", "suppressions", [sa.text("at DESC"), sa.text("id DESC")], unique=False)
    for address in ("email", "phone"):
        op.add_column(
            "contacts",
            sa.Column(
                f"{address}_confirmed_at",
                sa.DateTime(timezone=True),
                nullable=True,
                comment="by a code; null once the bank changes it",
            ),
        )
    op.create_table(
        "verifications",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("delivery_id", sa.Uuid(), nullable=False, comment="of the message that brings the code"),
        sa.Column("address_hash", sa.LargeBinary(), nullable=False, comment="keyed, of what is verified"),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False, comment="keyed"),
        sa.Column("sealed", sa.LargeBinary(), nullable=False, comment="the code, encrypted; empty once it was used"),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("channel IN ('email', 'sms')", name="verifications_channel"),
        sa.PrimaryKeyConstraint("partner_id", "user_id", "channel"),
    )
    op.create_index("verifications_started", "verifications", ["started_at"], unique=False)
    op.create_table(
        "verification_counts",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False, comment="user, address, prefix or partner"),
        sa.Column("subject", sa.LargeBinary(), nullable=False, comment="a keyed hash of whose they are"),
        sa.Column("day", sa.Date(), nullable=False, comment="the day, in UTC, that is counted"),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("partner_id", "scope", "subject"),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index("verification_counts_old", "verification_counts", ["day"], unique=False)
    op.add_column("dead_letters", sa.Column("taken_in_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("dead_letters_named", "dead_letters", ["message_id"], unique=False)
    op.create_index(
        "dead_letters_waiting",
        "dead_letters",
        ["at", "id"],
        unique=False,
        postgresql_where=sa.text("taken_in_at IS NULL"),
    )
    op.create_table(
        "dead_letter_retries",
        sa.Column("letter_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False, comment="who asked for it"),
        sa.Column("error", sa.Text(), nullable=True, comment="null: it was taken in"),
        sa.ForeignKeyConstraint(["letter_id"], ["dead_letters.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("letter_id", "id"),
    )


def downgrade() -> None:
    """Drop them: what they held is lost."""
    op.drop_table("dead_letter_retries")
    for index in ("dead_letters_waiting", "dead_letters_named"):
        op.drop_index(index, "dead_letters")
    op.drop_column("dead_letters", "taken_in_at")
    op.drop_table("verification_counts")
    op.drop_table("verifications")
    for address in ("email", "phone"):
        op.drop_column("contacts", f"{address}_confirmed_at")
    for index in ("suppressions_listed", "suppressions_of_partner", "suppressions_by_id"):
        op.drop_index(index, "suppressions")
    for column in ("note", "lifted_by", "said_at", "id"):
        op.drop_column("suppressions", column)
    op.drop_index("deliveries_ended_badly", "deliveries")
    op.drop_table("delivery_events")
