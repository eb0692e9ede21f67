"""The dispatcher's schema. Keys of a tenant's table start with partner_id; every join carries it."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    Time,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR

from tocsin_dispatcher.store.conditions import HOLDS_FACT, WAITING, held_together
from tocsin_dispatcher.store.destination_tables import destination_tables
from tocsin_dispatcher.store.history_tables import (
    dead_letter_tables,
    delivery_events_table,
    suppressions_table,
    verification_tables,
)
from tocsin_dispatcher.store.template_tables import template_tables
from tocsin_kit.postgres.idempotency import idempotency_table
from tocsin_kit.postgres.outbox import outbox_table

metadata = MetaData()

Instant = DateTime(timezone=True)

contacts = Table(
    "contacts",
    metadata,
    Column("partner_id", BigInteger, primary_key=True),
    Column("user_id", BigInteger, primary_key=True),
    Column("email", Text),
    Column("email_verified_at", Instant),
    Column("email_confirmed_at", Instant, comment="by a code; null once the bank changes it"),
    Column("phone", Text),
    Column("phone_verified_at", Instant),
    Column("phone_confirmed_at", Instant, comment="by a code; null once the bank changes it"),
    Column("locale", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Index("contacts_by_phone", "phone", postgresql_where=text("phone IS NOT NULL")),
    Index("contacts_by_email", text("lower(email)"), postgresql_where=text("email IS NOT NULL")),
)

preferences = Table(
    "preferences",
    metadata,
    Column("partner_id", BigInteger, primary_key=True),
    Column("user_id", BigInteger, primary_key=True),
    Column("email_enabled", Boolean, nullable=False, server_default=text("true")),
    Column("sms_enabled", Boolean, nullable=False, server_default=text("true")),
    Column("push_enabled", Boolean, nullable=False, server_default=text("true")),
    Column("overrides", JSONB, nullable=False, server_default=text("'[]'::jsonb"), comment="[[kind, channel, on]]"),
    Column("quiet_hours_enabled", Boolean, nullable=False, server_default=text("false")),
    Column("quiet_hours_start", Time, nullable=False, server_default=text("'22:00'")),
    Column("quiet_hours_end", Time, nullable=False, server_default=text("'08:00'")),
    Column("max_per_hour", Integer, comment="null: the default"),
    Column("max_per_day", Integer, comment="null: the default"),
    Column("digest_hour", Integer, nullable=False, server_default=text("18")),
    Column("hide_amounts", Boolean, nullable=False, server_default=text("false")),
    Column("updated_at", Instant, nullable=False),
    CheckConstraint("digest_hour BETWEEN 0 AND 23", name="preferences_digest_hour"),
)

notifications = Table(
    "notifications",
    metadata,
    Column("partner_id", BigInteger, primary_key=True),
    Column("id", Uuid, primary_key=True, comment="the firing's id"),
    Column("user_id", BigInteger, nullable=False),
    Column("alert_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("class", Text, nullable=False),
    Column("critical", Boolean, nullable=False),
    Column("daily_digest", Boolean, nullable=False),
    Column("alert_name", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("action_url", Text, nullable=False),
    Column("metadata", JSONB, nullable=False, comment="the firing's context"),
    Column("search", TSVECTOR, Computed("to_tsvector('simple', title || ' ' || message)", persisted=True)),
    Column("profile_version", BigInteger, nullable=False, comment="the one the evaluator knew; 0: none"),
    Column("time_zone", Text, nullable=False, comment="as the evaluator knew it; used until the profile is here"),
    Column("locale", Text, nullable=False, comment="as the evaluator knew it; used until the profile is here"),
    Column("planned", Integer, nullable=False, comment="how many deliveries were planned: the audit counts them"),
    Column("fired_at", Instant, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("read_at", Instant),
    Column("deleted_at", Instant),
    Column("version", BigInteger, nullable=False, comment="the inbox's version at its last change"),
    Index(
        "notifications_listed",
        "partner_id",
        "user_id",
        text("created_at DESC"),
        text("id DESC"),
        postgresql_where=text("deleted_at IS NULL"),
    ),
    Index(
        "notifications_unread",
        "partner_id",
        "user_id",
        postgresql_where=text("read_at IS NULL AND deleted_at IS NULL"),
    ),
    Index("notifications_changed", "partner_id", "user_id", "version"),
    Index("notifications_fired", "fired_at"),
    Index("notifications_created", "created_at"),
)

unread = Table(
    "unread",
    metadata,
    Column("partner_id", BigInteger, primary_key=True),
    Column("user_id", BigInteger, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    postgresql_with={"fillfactor": 70},
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("partner_id", BigInteger, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("purpose", Text, nullable=False, server_default=text("'alert'")),
    Column("notification_id", Uuid),
    Column("user_id", BigInteger, nullable=False),
    Column("channel", Text, nullable=False),
    Column("destination_id", Uuid, comment="a subscription's or endpoint's; null where the person has one address"),
    Column("destination", Text, comment="the address the last attempt went to"),
    Column("class", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("due_at", Instant, comment="when it is next looked at; null in a final state"),
    Column("leased_until", Instant, comment="set while a worker has it: names that claim"),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("failures", Integer, nullable=False, server_default=text("0"), comment="those that cost a retry"),
    Column("token_taken", Boolean, nullable=False, server_default=text("false"), comment="its rate limit token"),
    Column("repeated_after_unknown", Boolean, nullable=False, server_default=text("false")),
    Column("possible_duplicate", Boolean, nullable=False, server_default=text("false")),
    Column("expires_at", Instant, nullable=False),
    Column("merged_into", Uuid, comment="the delivery whose fate a merged one follows"),
    Column("fact_key", Text),
    Column("provider", Text),
    Column("provider_id", Text),
    Column("error", Text),
    Column("cost", Numeric(18, 4)),
    Column("segments", Integer),
    Column("traceparent", Text),
    Column("tracestate", Text),
    Column("created_at", Instant, nullable=False),
    Column("sent_at", Instant),
    Column("delivered_at", Instant),
    Column("failed_at", Instant),
    ForeignKeyConstraint(
        ["partner_id", "notification_id"], ["notifications.partner_id", "notifications.id"], ondelete="CASCADE"
    ),
    CheckConstraint(
        "status IN ('pending', 'sending', 'sent', 'delivered', 'retrying', 'unknown', 'held', 'suppressed',"
        " 'merged', 'expired', 'failed', 'bounced')",
        name="deliveries_status",
    ),
    CheckConstraint("channel IN ('email', 'sms', 'in_app', 'push', 'webhook')", name="deliveries_channel"),
    CheckConstraint("purpose IN ('alert', 'digest', 'verification', 'test')", name="deliveries_purpose"),
    CheckConstraint(f"(due_at IS NOT NULL) = ({WAITING})", name="deliveries_due_while_waiting"),
    Index(
        "deliveries_planned_once",
        "partner_id",
        "notification_id",
        "channel",
        "destination_id",
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=text("notification_id IS NOT NULL"),
    ),
    Index(
        "deliveries_one_per_fact",
        "partner_id",
        "user_id",
        "channel",
        "destination_id",
        "fact_key",
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=text(HOLDS_FACT),
    ),
    Index("deliveries_due", "channel", "class", "due_at", postgresql_where=text(WAITING)),
    Index("deliveries_due_by_partner", "channel", "class", "partner_id", "due_at", postgresql_where=text(WAITING)),
    Index(
        "deliveries_of_provider",
        "provider",
        "provider_id",
        postgresql_ops={"provider_id": "text_pattern_ops"},
        postgresql_where=text("provider_id IS NOT NULL"),
    ),
    Index("deliveries_created", text("created_at DESC"), text("id DESC")),
    Index("deliveries_ended_badly", "failed_at", postgresql_where=text("status IN ('failed', 'expired')")),
    Index("deliveries_of_user", "partner_id", "user_id", text("created_at DESC"), text("id DESC")),
    Index("deliveries_merged", "partner_id", "merged_into", postgresql_where=text("merged_into IS NOT NULL")),
    Index(
        "deliveries_held_together",
        "partner_id",
        "user_id",
        "channel",
        "due_at",
        postgresql_where=text(held_together()),
    ),
    Index(
        "deliveries_awaiting_profile",
        "partner_id",
        "user_id",
        postgresql_where=text("status = 'held' AND reason = 'profile_awaited'"),
    ),
    Index("deliveries_by_id", "id"),
    postgresql_with={
        "fillfactor": 70,
        "autovacuum_vacuum_scale_factor": 0.02,
        "autovacuum_vacuum_cost_delay": 0,
    },
)

attempts = Table(
    "attempts",
    metadata,
    Column("partner_id", BigInteger, primary_key=True),
    Column("delivery_id", Uuid, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("credential", Text, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Column("outcome", Text),
    Column("status_code", Integer),
    Column("code", Text, comment="the provider's own"),
    Column("answer", Text, comment="the provider's, short and redacted"),
    Column("possible_duplicate", Boolean, nullable=False),
    ForeignKeyConstraint(["partner_id", "delivery_id"], ["deliveries.partner_id", "deliveries.id"], ondelete="CASCADE"),
)

transitions = Table(
    "transitions",
    metadata,
    Column("before", Text, primary_key=True),
    Column("after", Text, primary_key=True),
)

counters = Table(
    "counters",
    metadata,
    Column("partner_id", BigInteger, primary_key=True),
    Column("user_id", BigInteger, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("hour", Instant, nullable=False, comment="the hour that is counted"),
    Column("hour_count", Integer, nullable=False),
    Column("hour_critical", Integer, nullable=False, comment="critical ones have a limit of their own"),
    Column("day", Date, nullable=False, comment="the user's local day that is counted"),
    Column("day_count", Integer, nullable=False),
    Index("counters_old", "hour"),
    postgresql_with={"fillfactor": 70},
)

breakers = Table(
    "breakers",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("subject", Text, primary_key=True, comment="credential, endpoint or push origin"),
    Column("state", Text, nullable=False),
    Column("since", Instant, nullable=False),
    Column("failures", Integer, nullable=False, comment="in a row"),
    Column("successes", Integer, nullable=False, comment="of probes, while half-open"),
    Column("reason", Text, nullable=False),
    Column("next_probe_at", Instant),
    Column("paused_until", Instant, comment="the end of the last pause that the provider asked for"),
    Column("calls_a_minute", Integer, comment="of a process, when that pause ended"),
    CheckConstraint("state IN ('closed', 'half_open', 'open')", name="breakers_state"),
)

partner_settings = Table(
    "partner_settings",
    metadata,
    Column("partner_id", BigInteger, primary_key=True),
    Column("max_per_hour", Integer),
    Column("max_per_day", Integer),
    Column("sms_segments", Integer),
    Column("mandatory_kinds", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("countries", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("price_per_segment", Numeric(18, 4)),
    Column("updated_at", Instant, nullable=False),
)

receipts = Table(
    "receipts",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("event_key", Text, primary_key=True, comment="the provider's own; case matters"),
    Column("event", Text, nullable=False),
    Column("partner_id", BigInteger, comment="null until it is matched"),
    Column("delivery_id", Uuid, comment="as the provider echoed or as matched"),
    Column("attempt", Integer),
    Column("provider_id", Text, comment="the provider's message id, for matching"),
    Column("callback_id", Uuid, nullable=False),
    Column("happened_at", Instant, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("applied_at", Instant, comment="null while it waits for its attempt to be recorded"),
    Column("details", JSONB, nullable=False),
    Index(
        "receipts_waiting",
        "provider",
        "provider_id",
        postgresql_ops={"provider_id": "text_pattern_ops"},
        postgresql_where=text("applied_at IS NULL"),
    ),
    Index("receipts_of_delivery", "delivery_id"),
    Index("receipts_received", "received_at"),
    Index("receipts_missed", "received_at", postgresql_where=text("applied_at IS NULL")),
)

callbacks = Table(
    "callbacks",
    metadata,
    Column("id", Uuid, primary_key=True, comment="the gateway's row"),
    Column("provider", Text, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("taken_in_at", Instant, nullable=False),
    Index("callbacks_received", "received_at"),
)

mailbox = Table(
    "mailbox",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("partner_id", BigInteger, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("delivery_id", Uuid, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("channel", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("html", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Index("mailbox_created", text("created_at DESC"), text("id DESC")),
    Index("mailbox_once", "partner_id", "delivery_id", "attempt", unique=True),
)

ledger_minutes = Table(
    "ledger_minutes",
    metadata,
    Column("minute", Instant, primary_key=True),
    Column("firings", BigInteger, nullable=False),
    Column("notifications", BigInteger, nullable=False),
    Column("differs", Boolean, nullable=False),
    Column("first_differed_at", Instant),
    Column("checked_at", Instant, nullable=False),
    Index("ledger_minutes_differing", "minute", postgresql_where=text("differs")),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("subject", Text, nullable=False, comment="who: the token's subject"),
    Column("action", Text, nullable=False),
    Column("partner_id", BigInteger),
    Column("object", Text, nullable=False),
    Index("audit_log_at", "at"),
)

outbox = outbox_table(metadata)
idempotency_keys = idempotency_table(metadata)
push_subscriptions, webhook_endpoints, webhook_secrets = destination_tables(metadata)
templates, template_partners, template_trials = template_tables(metadata)
delivery_events = delivery_events_table(metadata)
verifications, verification_counts = verification_tables(metadata)
dead_letters, dead_letter_retries = dead_letter_tables(metadata)
suppressions = suppressions_table(metadata)
