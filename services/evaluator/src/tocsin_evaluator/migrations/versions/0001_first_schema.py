"""The first schema.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables and their indexes."""
    op.create_table(
        "accounts",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("balance", sa.Numeric(precision=18, scale=4), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="when this version came in"),
        sa.PrimaryKeyConstraint("partner_id", "id"),
        postgresql_with={"fillfactor": "85"},
    )
    op.create_index("accounts_by_user", "accounts", ["partner_id", "user_id"], unique=False)
    op.create_table(
        "alerts",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "subject_id",
            sa.BigInteger(),
            nullable=True,
            comment="account, goal, budget or bill; transaction kinds have none",
        ),
        sa.Column(
            "account_id", sa.BigInteger(), nullable=True, comment="the only account a transaction limit looks at"
        ),
        sa.Column("amount", sa.Numeric(precision=18, scale=4), nullable=True, comment="threshold or limit"),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("direction", sa.Text(), nullable=True),
        sa.Column("repeat", sa.Text(), nullable=True),
        sa.Column("percents", postgresql.ARRAY(sa.Integer()), nullable=True, comment="ascending"),
        sa.Column("pattern", sa.Text(), nullable=True),
        sa.Column("pattern_norm", sa.Text(), nullable=True),
        sa.Column("match_type", sa.Text(), nullable=True),
        sa.Column("frequency", sa.Text(), nullable=True),
        sa.Column("days_before", sa.Integer(), nullable=True),
        sa.Column("condition_version", sa.Integer(), nullable=False),
        sa.Column("condition_changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("channels", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("critical", sa.Boolean(), nullable=False),
        sa.Column("cooldown", sa.Interval(), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("snoozed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "evaluate_after_edit",
            sa.SmallInteger(),
            nullable=True,
            comment="an edit is to be evaluated: 1, or silently: 2",
        ),
        sa.Column("armed", sa.Boolean(), nullable=False),
        sa.Column(
            "seen_version", sa.BigInteger(), nullable=False, comment="of the account when it fired or turned false"
        ),
        sa.Column("quiet_until", sa.DateTime(timezone=True), nullable=True, comment="written at the firing"),
        sa.Column("last_triggered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("trigger_count", sa.BigInteger(), nullable=False),
        sa.Column(
            "sweeps_before", sa.BigInteger(), nullable=False, comment="finished sweeps of the kind at its creation"
        ),
        sa.Column(
            "fact_version_before", sa.BigInteger(), nullable=False, comment="its subject's version at its creation"
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("percents IS NULL OR cardinality(percents) > 0", name="alerts_percents"),
        sa.PrimaryKeyConstraint("partner_id", "id"),
        postgresql_with={"fillfactor": "85"},
    )
    op.create_index(
        "alerts_by_snooze",
        "alerts",
        ["snoozed_until"],
        unique=False,
        postgresql_where=sa.text("snoozed_until IS NOT NULL"),
    )
    op.create_index(
        "alerts_by_subject",
        "alerts",
        ["partner_id", "kind", "subject_id"],
        unique=False,
        postgresql_where=sa.text("active AND deleted_at IS NULL"),
    )
    op.create_index(
        "alerts_by_user",
        "alerts",
        ["partner_id", "user_id", "kind"],
        unique=False,
        postgresql_where=sa.text("active AND deleted_at IS NULL"),
    )
    op.create_index(
        "alerts_of_user",
        "alerts",
        ["partner_id", "user_id", "id"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "alerts_to_evaluate",
        "alerts",
        ["updated_at"],
        unique=False,
        postgresql_where=sa.text("evaluate_after_edit IS NOT NULL"),
    )
    op.create_table(
        "bill_days",
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("local_date", sa.Date(), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("zone", "local_date"),
    )
    op.create_table(
        "bills",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=18, scale=4), nullable=False),
        sa.Column("due_date", sa.Date(), nullable=False, comment="the first occurrence"),
        sa.Column("recurrence", sa.Text(), nullable=False),
        sa.Column("paid_through", sa.Date(), nullable=True),
        sa.Column(
            "next_due_on",
            sa.Date(),
            nullable=True,
            comment="never later than the first unpaid occurrence to come; null: there is none",
        ),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="when this version came in"),
        sa.PrimaryKeyConstraint("partner_id", "id"),
    )
    op.create_index("bills_by_due", "bills", ["partner_id", "next_due_on"], unique=False)
    op.create_index("bills_by_user", "bills", ["partner_id", "user_id"], unique=False)
    op.create_table(
        "budgets",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=18, scale=4), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=True),
        sa.Column("spent_source", sa.Text(), nullable=False),
        sa.Column("spent", sa.Numeric(precision=28, scale=4), nullable=False),
        sa.Column(
            "spent_from", sa.Date(), nullable=False, comment="first local day of the period that `spent` speaks of"
        ),
        sa.Column("spent_until", sa.Date(), nullable=False, comment="first local day after it"),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="when this version came in"),
        sa.PrimaryKeyConstraint("partner_id", "id"),
    )
    op.create_index("budgets_by_user", "budgets", ["partner_id", "user_id"], unique=False)
    op.create_index(
        "budgets_to_turn",
        "budgets",
        ["spent_until"],
        unique=False,
        postgresql_where=sa.text("spent_source = 'derived'"),
    )
    op.create_table(
        "evaluation_ledger",
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("way", sa.Text(), nullable=False),
        sa.Column("replica", sa.Text(), nullable=False),
        sa.Column("evaluated", sa.BigInteger(), nullable=False),
        sa.Column("true", sa.BigInteger(), nullable=False),
        sa.Column("fired", sa.BigInteger(), nullable=False),
        sa.Column("backfill", sa.BigInteger(), nullable=False),
        sa.Column("snoozed", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.BigInteger(), nullable=False),
        sa.Column("stale", sa.BigInteger(), nullable=False),
        sa.Column("cooldown", sa.BigInteger(), nullable=False),
        sa.Column("not_rearmed", sa.BigInteger(), nullable=False),
        sa.Column("already_sent", sa.BigInteger(), nullable=False),
        sa.Column("passed", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            '"true" = fired + backfill + snoozed + currency + stale + cooldown + not_rearmed + already_sent + passed',
            name="evaluation_ledger_true",
        ),
        sa.CheckConstraint('evaluated >= "true"', name="evaluation_ledger_evaluated"),
        sa.PrimaryKeyConstraint("minute", "kind", "way", "replica"),
    )
    op.create_table(
        "firings",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("alert_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("class", sa.Text(), nullable=False),
        sa.Column("occurrence_key", sa.Text(), nullable=False),
        sa.Column("condition_version", sa.Integer(), nullable=False),
        sa.Column("context", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("alert_name", sa.Text(), nullable=False),
        sa.Column("channels", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("critical", sa.Boolean(), nullable=False),
        sa.Column("daily_digest", sa.Boolean(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("profile_version", sa.BigInteger(), nullable=False),
        sa.Column("fired_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("tracestate", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("partner_id", "id"),
    )
    op.create_index("firings_by_time", "firings", ["fired_at"], unique=False)
    op.create_index(
        "firings_of_alert",
        "firings",
        ["partner_id", "alert_id", sa.text("fired_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_table(
        "goals",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("current_amount", sa.Numeric(precision=18, scale=4), nullable=False),
        sa.Column("target_amount", sa.Numeric(precision=18, scale=4), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="when this version came in"),
        sa.PrimaryKeyConstraint("partner_id", "id"),
    )
    op.create_index("goals_by_user", "goals", ["partner_id", "user_id"], unique=False)
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
        "occurrences",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("alert_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fired", sa.Boolean(), nullable=False, comment="false: passed silently"),
        sa.Column("firing_id", sa.Uuid(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("fired = (firing_id IS NOT NULL)", name="occurrences_firing"),
        sa.PrimaryKeyConstraint("partner_id", "alert_id", "key"),
    )
    op.create_index("occurrences_by_time", "occurrences", ["at"], unique=False, postgresql_using="brin")
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
        "people",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column(
            "content_hash",
            sa.LargeBinary(),
            nullable=False,
            comment="of the whole profile: tells a repeat from a change",
        ),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partner_id", "user_id"),
    )
    op.create_index("people_by_zone", "people", ["time_zone"], unique=False)
    op.create_table(
        "sweep_slices",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("user_from", sa.BigInteger(), nullable=False),
        sa.Column("user_to", sa.BigInteger(), nullable=False, comment="inclusive"),
        sa.Column("alerts", sa.BigInteger(), nullable=False, comment="live ones, counted when the slices were cut"),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("leased_by", sa.Text(), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fired", sa.BigInteger(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True, comment="the run's"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("sweep_slices_of_run", "sweep_slices", ["run_id", "kind"], unique=False)
    op.create_index(
        "sweep_slices_open", "sweep_slices", ["id"], unique=False, postgresql_where=sa.text("done_at IS NULL")
    )
    op.create_table(
        "sweeps",
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="the job's id: a retried job goes on where it was"),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("cut_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "number",
            sa.BigInteger(),
            nullable=True,
            comment="how many sweeps of the kind have finished, this one included",
        ),
        sa.PrimaryKeyConstraint("run_id", "kind"),
    )
    op.create_index(
        "sweeps_by_number",
        "sweeps",
        ["kind", sa.text("number DESC")],
        unique=False,
        postgresql_where=sa.text("number IS NOT NULL"),
    )
    op.create_table(
        "transactions",
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("purchase_id", sa.BigInteger(), nullable=False, comment="shared by the pending and the posted form"),
        sa.Column("purchase_on", sa.Date(), nullable=False, comment="local day of its first form"),
        sa.Column(
            "other_form_id",
            sa.BigInteger(),
            nullable=True,
            comment="its pending or posted form; its own id where it was booked under it",
        ),
        sa.Column("amount", sa.Numeric(precision=18, scale=4), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("merchant", sa.Text(), nullable=False),
        sa.Column("merchant_norm", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("posted_on", sa.Date(), nullable=False, comment="the user's local day"),
        sa.Column(
            "posted_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="12:00 local where the bank gave only a day",
        ),
        sa.Column(
            "backfill", sa.Boolean(), nullable=False, comment="history, or too old at its arrival: fires nothing"
        ),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("pending_transaction_id", sa.BigInteger(), nullable=True),
        sa.Column("is_estimate", sa.Boolean(), nullable=False),
        sa.Column("balance_after", sa.Numeric(precision=18, scale=4), nullable=True),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("partner_id", "id"),
        postgresql_with={"autovacuum_analyze_threshold": "500", "autovacuum_analyze_scale_factor": "0.02"},
    )
    op.create_index("transactions_by_account", "transactions", ["partner_id", "account_id", "posted_at"], unique=False)
    op.create_index(
        "transactions_by_pending",
        "transactions",
        ["partner_id", "pending_transaction_id"],
        unique=False,
        postgresql_where=sa.text("pending_transaction_id IS NOT NULL"),
    )
    op.create_index("transactions_by_time", "transactions", ["posted_at"], unique=False, postgresql_using="brin")
    op.create_index(
        "transactions_by_user", "transactions", ["partner_id", "user_id", sa.text("posted_at DESC")], unique=False
    )
