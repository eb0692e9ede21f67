"""The first schema.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from tocsin_dispatcher.states import transitions_sql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables, and the trigger that refuses steps between states that are not allowed."""
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False, comment="who: the token's subject"),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("partner_id", sa.BigInteger(), nullable=True),
        sa.Column("object", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("audit_log_at", "audit_log", ["at"], unique=False)
    op.create_table(
        "breakers",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False, comment="credential, endpoint or push origin"),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False, comment="in a row"),
        sa.Column("successes", sa.Integer(), nullable=False, comment="of probes, while half-open"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("next_probe_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "paused_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="the end of the last pause that the provider asked for",
        ),
        sa.Column("calls_a_minute", sa.Integer(), nullable=True, comment="of a process, when that pause ended"),
        sa.CheckConstraint("state IN ('closed', 'half_open', 'open')", name="breakers_state"),
        sa.PrimaryKeyConstraint("provider", "subject"),
    )
    op.create_table(
        "callbacks",
        sa.Column("id", sa.Uuid(), nullable=False, comment="the gateway's row"),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("taken_in_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("callbacks_received", "callbacks", ["received_at"], unique=False)
    op.create_table(
        "contacts",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("email_verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("phone_verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partner_id", "user_id"),
    )
    op.create_index(
        "contacts_by_email",
        "contacts",
        [sa.literal_column("lower(email)")],
        unique=False,
        postgresql_where=sa.text("email IS NOT NULL"),
    )
    op.create_index(
        "contacts_by_phone", "contacts", ["phone"], unique=False, postgresql_where=sa.text("phone IS NOT NULL")
    )
    op.create_table(
        "counters",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False, comment="the hour that is counted"),
        sa.Column("hour_count", sa.Integer(), nullable=False),
        sa.Column("hour_critical", sa.Integer(), nullable=False, comment="critical ones have a limit of their own"),
        sa.Column("day", sa.Date(), nullable=False, comment="the user's local day that is counted"),
        sa.Column("day_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("partner_id", "user_id", "channel"),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index("counters_old", "counters", ["hour"], unique=False)
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("bytes", sa.LargeBinary(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("dead_letters_at", "dead_letters", ["at"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("response", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("partner_id", "caller", "method", "request_id"),
    )
    op.create_index(op.f("ix_idempotency_keys_at"), "idempotency_keys", ["at"], unique=False)
    op.create_table(
        "ledger_minutes",
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("firings", sa.BigInteger(), nullable=False),
        sa.Column("notifications", sa.BigInteger(), nullable=False),
        sa.Column("differs", sa.Boolean(), nullable=False),
        sa.Column("first_differed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("minute"),
    )
    op.create_index(
        "ledger_minutes_differing", "ledger_minutes", ["minute"], unique=False, postgresql_where=sa.text("differs")
    )
    op.create_table(
        "mailbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("html", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "mailbox_created", "mailbox", [sa.literal_column("created_at DESC"), sa.literal_column("id DESC")], unique=False
    )
    op.create_index("mailbox_once", "mailbox", ["partner_id", "delivery_id", "attempt"], unique=True)
    op.create_table(
        "notifications",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False, comment="the firing's id"),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("alert_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("class", sa.Text(), nullable=False),
        sa.Column("critical", sa.Boolean(), nullable=False),
        sa.Column("daily_digest", sa.Boolean(), nullable=False),
        sa.Column("alert_name", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("action_url", sa.Text(), nullable=False),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="the firing's context"),
        sa.Column(
            "search",
            postgresql.TSVECTOR(),
            sa.Computed("to_tsvector('simple', title || ' ' || message)", persisted=True),
            nullable=True,
        ),
        sa.Column("profile_version", sa.BigInteger(), nullable=False, comment="the one the evaluator knew; 0: none"),
        sa.Column(
            "time_zone", sa.Text(), nullable=False, comment="as the evaluator knew it; used until the profile is here"
        ),
        sa.Column(
            "locale", sa.Text(), nullable=False, comment="as the evaluator knew it; used until the profile is here"
        ),
        sa.Column(
            "planned", sa.Integer(), nullable=False, comment="how many deliveries were planned: the audit counts them"
        ),
        sa.Column("fired_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False, comment="the inbox's version at its last change"),
        sa.PrimaryKeyConstraint("partner_id", "id"),
    )
    op.create_index("notifications_changed", "notifications", ["partner_id", "user_id", "version"], unique=False)
    op.create_index("notifications_created", "notifications", ["created_at"], unique=False)
    op.create_index("notifications_fired", "notifications", ["fired_at"], unique=False)
    op.create_index(
        "notifications_listed",
        "notifications",
        ["partner_id", "user_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "notifications_unread",
        "notifications",
        ["partner_id", "user_id"],
        unique=False,
        postgresql_where=sa.text("read_at IS NULL AND deleted_at IS NULL"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("class", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.Column("partner_id", sa.BigInteger(), nullable=True),
        sa.Column("firing_id", sa.Uuid(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("tracestate", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("outbox_by_class", "outbox", ["class", "id"], unique=False)
    op.create_table(
        "partner_settings",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("max_per_hour", sa.Integer(), nullable=True),
        sa.Column("max_per_day", sa.Integer(), nullable=True),
        sa.Column("sms_segments", sa.Integer(), nullable=True),
        sa.Column("mandatory_kinds", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("countries", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("price_per_segment", sa.Numeric(precision=18, scale=4), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("partner_id"),
    )
    op.create_table(
        "preferences",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("email_enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("sms_enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("push_enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column(
            "overrides",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
            comment="[[kind, channel, on]]",
        ),
        sa.Column("quiet_hours_enabled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("quiet_hours_start", sa.Time(), server_default=sa.text("'22:00'"), nullable=False),
        sa.Column("quiet_hours_end", sa.Time(), server_default=sa.text("'08:00'"), nullable=False),
        sa.Column("max_per_hour", sa.Integer(), nullable=True, comment="null: the default"),
        sa.Column("max_per_day", sa.Integer(), nullable=True, comment="null: the default"),
        sa.Column("digest_hour", sa.Integer(), server_default=sa.text("18"), nullable=False),
        sa.Column("hide_amounts", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("digest_hour BETWEEN 0 AND 23", name="preferences_digest_hour"),
        sa.PrimaryKeyConstraint("partner_id", "user_id"),
    )
    op.create_table(
        "receipts",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("event_key", sa.Text(), nullable=False, comment="the provider's own; case matters"),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("partner_id", sa.BigInteger(), nullable=True, comment="null until it is matched"),
        sa.Column("delivery_id", sa.Uuid(), nullable=True, comment="as the provider echoed or as matched"),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column("provider_id", sa.Text(), nullable=True, comment="the provider's message id, for matching"),
        sa.Column("callback_id", sa.Uuid(), nullable=False),
        sa.Column("happened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "applied_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="null while it waits for its attempt to be recorded",
        ),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("provider", "event_key"),
    )
    op.create_index("receipts_of_delivery", "receipts", ["delivery_id"], unique=False)
    op.create_index("receipts_received", "receipts", ["received_at"], unique=False)
    op.create_index(
        "receipts_missed", "receipts", ["received_at"], unique=False, postgresql_where=sa.text("applied_at IS NULL")
    )
    op.create_index(
        "receipts_waiting",
        "receipts",
        ["provider", "provider_id"],
        unique=False,
        postgresql_ops={"provider_id": "text_pattern_ops"},
        postgresql_where=sa.text("applied_at IS NULL"),
    )
    op.create_table(
        "suppressions",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("address_hash", sa.LargeBinary(), nullable=False),
        sa.Column(
            "reason", sa.Text(), nullable=False, comment="each stands for itself: START lifts STOP and no bounce"
        ),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lifted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("partner_id", "channel", "address_hash", "reason"),
    )
    op.create_table(
        "unread",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partner_id", "user_id"),
        postgresql_with={"fillfactor": 70},
    )
    op.create_table(
        "deliveries",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), server_default=sa.text("'alert'"), nullable=False),
        sa.Column("notification_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column(
            "destination_id",
            sa.Uuid(),
            nullable=True,
            comment="a subscription's or endpoint's; null where the person has one address",
        ),
        sa.Column("destination", sa.Text(), nullable=True, comment="the address the last attempt went to"),
        sa.Column("class", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "due_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when it is next looked at; null in a final state",
        ),
        sa.Column(
            "leased_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="set while a worker has it: names that claim",
        ),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "failures", sa.Integer(), server_default=sa.text("0"), nullable=False, comment="those that cost a retry"
        ),
        sa.Column(
            "token_taken", sa.Boolean(), server_default=sa.text("false"), nullable=False, comment="its rate limit token"
        ),
        sa.Column("repeated_after_unknown", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("possible_duplicate", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("merged_into", sa.Uuid(), nullable=True, comment="the delivery whose fate a merged one follows"),
        sa.Column("fact_key", sa.Text(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("provider_id", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("cost", sa.Numeric(precision=18, scale=4), nullable=True),
        sa.Column("segments", sa.Integer(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("tracestate", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(due_at IS NOT NULL) = (status IN ('pending', 'held', 'retrying', 'unknown', 'sending'))",
            name="deliveries_due_while_waiting",
        ),
        sa.CheckConstraint("channel IN ('email', 'sms', 'in_app', 'push', 'webhook')", name="deliveries_channel"),
        sa.CheckConstraint("purpose IN ('alert', 'digest', 'verification', 'test')", name="deliveries_purpose"),
        sa.CheckConstraint(
            "status IN ('pending', 'sending', 'sent', 'delivered', 'retrying', 'unknown', 'held', 'suppressed',"
            " 'merged', 'expired', 'failed', 'bounced')",
            name="deliveries_status",
        ),
        sa.ForeignKeyConstraint(
            ["partner_id", "notification_id"], ["notifications.partner_id", "notifications.id"], ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("partner_id", "id"),
        postgresql_with={"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.02, "autovacuum_vacuum_cost_delay": 0},
    )
    op.create_index(
        "deliveries_awaiting_profile",
        "deliveries",
        ["partner_id", "user_id"],
        unique=False,
        postgresql_where=sa.text("status = 'held' AND reason = 'profile_awaited'"),
    )
    op.create_index("deliveries_by_id", "deliveries", ["id"], unique=False)
    op.create_index(
        "deliveries_created",
        "deliveries",
        [sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "deliveries_due",
        "deliveries",
        ["channel", "class", "due_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('pending', 'held', 'retrying', 'unknown', 'sending')"),
    )
    op.create_index(
        "deliveries_due_by_partner",
        "deliveries",
        ["channel", "class", "partner_id", "due_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('pending', 'held', 'retrying', 'unknown', 'sending')"),
    )
    op.create_index(
        "deliveries_merged",
        "deliveries",
        ["partner_id", "merged_into"],
        unique=False,
        postgresql_where=sa.text("merged_into IS NOT NULL"),
    )
    op.create_index(
        "deliveries_of_provider",
        "deliveries",
        ["provider", "provider_id"],
        unique=False,
        postgresql_ops={"provider_id": "text_pattern_ops"},
        postgresql_where=sa.text("provider_id IS NOT NULL"),
    )
    op.create_index(
        "deliveries_of_user",
        "deliveries",
        ["partner_id", "user_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "deliveries_one_per_fact",
        "deliveries",
        ["partner_id", "user_id", "channel", "destination_id", "fact_key"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text(
            "fact_key IS NOT NULL AND status NOT IN ('suppressed', 'merged', 'expired', 'failed')"
        ),
    )
    op.create_index(
        "deliveries_planned_once",
        "deliveries",
        ["partner_id", "notification_id", "channel", "destination_id"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("notification_id IS NOT NULL"),
    )
    op.create_table(
        "attempts",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("credential", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True, comment="the provider's own"),
        sa.Column("answer", sa.Text(), nullable=True, comment="the provider's, short and redacted"),
        sa.Column("possible_duplicate", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["partner_id", "delivery_id"], ["deliveries.partner_id", "deliveries.id"], ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("partner_id", "delivery_id", "number"),
    )
    for statement in transitions_sql():
        op.execute(statement)


def downgrade() -> None:
    """There is nothing before this revision."""
    raise NotImplementedError("drop the database instead")
