"""The evaluator's schema. Keys of a tenant's table start with partner_id; every join carries it."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Identity,
    Index,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from tocsin_kit.postgres.idempotency import idempotency_table
from tocsin_kit.postgres.outbox import outbox_table

metadata = MetaData()

Instant = DateTime(timezone=True)
Money = Numeric(18, 4)
#: A sum of amounts, each of which may be as large as can be.
MoneySum = Numeric(28, 4)

#: What the partial indexes on alerts hold. A snoozed alert is live; whether it is snoozed depends on the time.
LIVE = "active AND deleted_at IS NULL"

people = Table(
    "people",
    metadata,
    Column("partner_id", BigInteger, primary_key=True),
    Column("user_id", BigInteger, primary_key=True),
    Column("time_zone", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("locale", Text, nullable=False),
    Column("content_hash", LargeBinary, nullable=False, comment="of the whole profile: tells a repeat from a change"),
    Column("as_of", Instant, nullable=False),
    Column("version", BigInteger, nullable=False),
    Index("people_by_zone", "time_zone"),
)

profile_copies = Table(
    "profile_copies",
    metadata,
    Column("partner_id", BigInteger, primary_key=True),
    Column("user_id", BigInteger, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False, comment="the event that told the dispatcher, encrypted"),
    Column("at", Instant, nullable=False),
    Index("profile_copies_by_time", "at"),
)

accounts = Table(
    "accounts",
    metadata,
    Column("partner_id", BigInteger, primary_key=True),
    Column("id", BigInteger, primary_key=True),
    Column("user_id", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("balance", Money, nullable=False),
    Column("currency", Text, nullable=False),
    Column("as_of", Instant, nullable=False),
    Column("closed_at", Instant),
    Column("version", BigInteger, nullable=False),
    Column("received_at", Instant, nullable=False, comment="when this version came in"),
    Index("accounts_by_user", "partner_id", "user_id"),
    postgresql_with={"fillfactor": "85"},
)

transactions = Table(
    "transactions",
    metadata,
    Column("partner_id", BigInteger, primary_key=True),
    Column("id", BigInteger, primary_key=True),
    Column("user_id", BigInteger, nullable=False),
    Column("account_id", BigInteger, nullable=False),
    Column("purchase_id", BigInteger, nullable=False, comment="shared by the pending and the posted form"),
    Column("purchase_on", Date, nullable=False, comment="local day of its first form"),
    Column("other_form_id", BigInteger, comment="its pending or posted form; its own id where it was booked under it"),
    Column("amount", Money, nullable=False),
    Column("currency", Text, nullable=False),
    Column("merchant", Text, nullable=False),
    Column("merchant_norm", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("posted_on", Date, nullable=False, comment="the user's local day"),
    Column("posted_at", Instant, nullable=False, comment="12:00 local where the bank gave only a day"),
    Column("backfill", Boolean, nullable=False, comment="history, or too old at its arrival: fires nothing"),
    Column("status", Text, nullable=False),
    Column("pending_transaction_id", BigInteger),
    Column("is_estimate", Boolean, nullable=False),
    Column("balance_after", Money),
    Column("as_of", Instant, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("received_at", Instant, nullable=False),
    Index("transactions_by_user", "partner_id", "user_id", text("posted_at DESC")),
    Index("transactions_by_account", "partner_id", "account_id", "posted_at"),
    Index(
        "transactions_by_pending",
        "partner_id",
        "pending_transaction_id",
        postgresql_where=text("pending_transaction_id IS NOT NULL"),
    ),
    Index("transactions_by_time", "posted_at", postgresql_using="brin"),
    # analysed while it grows fast: plans made for a small table are no good for a large one
    postgresql_with={"autovacuum_analyze_threshold": "500", "autovacuum_analyze_scale_factor": "0.02"},
)

goals = Table(
    "goals",
    metadata,
    Column("partner_id", BigInteger, primary_key=True),
    Column("id", BigInteger, primary_key=True),
    Column("user_id", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("current_amount", Money, nullable=False),
    Column("target_amount", Money, nullable=False),
    Column("as_of", Instant, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("received_at", Instant, nullable=False, comment="when this version came in"),
    Index("goals_by_user", "partner_id", "user_id"),
)

budgets = Table(
    "budgets",
    metadata,
    Column("partner_id", BigInteger, primary_key=True),
    Column("id", BigInteger, primary_key=True),
    Column("user_id", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount", Money, nullable=False),
    Column("period", Text, nullable=False),
    Column("starts_on", Date),
    Column("spent_source", Text, nullable=False),
    Column("spent", MoneySum, nullable=False),
    Column("spent_from", Date, nullable=False, comment="first local day of the period that `spent` speaks of"),
    Column("spent_until", Date, nullable=False, comment="first local day after it"),
    Column("as_of", Instant, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("received_at", Instant, nullable=False, comment="when this version came in"),
    Index("budgets_by_user", "partner_id", "user_id"),
    Index("budgets_to_turn", "spent_until", postgresql_where=text("spent_source = 'derived'")),
)

bills = Table(
    "bills",
    metadata,
    Column("partner_id", BigInteger, primary_key=True),
    Column("id", BigInteger, primary_key=True),
    Column("user_id", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount", Money, nullable=False),
    Column("due_date", Date, nullable=False, comment="the first occurrence"),
    Column("recurrence", Text, nullable=False),
    Column("paid_through", Date),
    Column("next_due_on", Date, comment="never later than the first unpaid occurrence to come; null: there is none"),
    Column("as_of", Instant, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("received_at", Instant, nullable=False, comment="when this version came in"),
    Index("bills_by_user", "partner_id", "user_id"),
    Index("bills_by_due", "partner_id", "next_due_on"),
)

alerts = Table(
    "alerts",
    metadata,
    Column("partner_id", BigInteger, primary_key=True),
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("user_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("subject_id", BigInteger, comment="account, goal, budget or bill; transaction kinds have none"),
    Column("account_id", BigInteger, comment="the only account a transaction limit looks at"),
    Column("amount", Money, comment="threshold or limit"),
    Column("currency", Text),
    Column("direction", Text),
    Column("repeat", Text),
    Column("percents", ARRAY(Integer), comment="ascending"),
    Column("pattern", Text),
    Column("pattern_norm", Text),
    Column("match_type", Text),
    Column("frequency", Text),
    Column("days_before", Integer),
    Column("condition_version", Integer, nullable=False),
    Column("condition_changed_at", Instant, nullable=False),
    Column("channels", ARRAY(Text), nullable=False),
    Column("critical", Boolean, nullable=False),
    Column("cooldown", Interval),
    Column("active", Boolean, nullable=False),
    Column("snoozed_until", Instant),
    Column("deleted_at", Instant),
    Column("evaluate_after_edit", SmallInteger, comment="an edit is to be evaluated: 1, or silently: 2"),
    Column("armed", Boolean, nullable=False),
    Column("seen_version", BigInteger, nullable=False, comment="of the account when it fired or turned false"),
    Column("quiet_until", Instant, comment="written at the firing"),
    Column("last_triggered_at", Instant),
    Column("trigger_count", BigInteger, nullable=False),
    Column("sweeps_before", BigInteger, nullable=False, comment="finished sweeps of the kind at its creation"),
    Column("fact_version_before", BigInteger, nullable=False, comment="its subject's version at its creation"),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    CheckConstraint("percents IS NULL OR cardinality(percents) > 0", name="alerts_percents"),
    Index("alerts_by_user", "partner_id", "user_id", "kind", postgresql_where=text(LIVE)),
    Index("alerts_by_subject", "partner_id", "kind", "subject_id", postgresql_where=text(LIVE)),
    Index("alerts_of_user", "partner_id", "user_id", "id", postgresql_where=text("deleted_at IS NULL")),
    Index("alerts_to_evaluate", "updated_at", postgresql_where=text("evaluate_after_edit IS NOT NULL")),
    Index("alerts_by_snooze", "snoozed_until", postgresql_where=text("snoozed_until IS NOT NULL")),
    postgresql_with={"fillfactor": "85"},
)

occurrences = Table(
    "occurrences",
    metadata,
    Column("partner_id", BigInteger, primary_key=True),
    Column("alert_id", BigInteger, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fired", Boolean, nullable=False, comment="false: passed silently"),
    Column("firing_id", Uuid),
    Column("at", Instant, nullable=False),
    CheckConstraint("fired = (firing_id IS NOT NULL)", name="occurrences_firing"),
    Index("occurrences_by_time", "at", postgresql_using="brin"),
)

firings = Table(
    "firings",
    metadata,
    Column("partner_id", BigInteger, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("user_id", BigInteger, nullable=False),
    Column("alert_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("class", Text, nullable=False),
    Column("occurrence_key", Text, nullable=False),
    Column("condition_version", Integer, nullable=False),
    Column("context", JSONB, nullable=False),
    Column("alert_name", Text, nullable=False),
    Column("channels", ARRAY(Text), nullable=False),
    Column("critical", Boolean, nullable=False),
    Column("daily_digest", Boolean, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("locale", Text, nullable=False),
    Column("profile_version", BigInteger, nullable=False),
    Column("fired_at", Instant, nullable=False),
    Column("traceparent", Text),
    Column("tracestate", Text),
    Index("firings_of_alert", "partner_id", "alert_id", text("fired_at DESC"), text("id DESC")),
    Index("firings_by_time", "fired_at"),
)

bill_days = Table(
    "bill_days",
    metadata,
    Column("zone", Text, primary_key=True),
    Column("local_date", Date, primary_key=True),
    Column("done_at", Instant, nullable=False),
    Column("job_id", Uuid, nullable=False),
)

sweeps = Table(
    "sweeps",
    metadata,
    Column("run_id", Uuid, primary_key=True, comment="the job's id: a retried job goes on where it was"),
    Column("kind", Text, primary_key=True),
    Column("cut_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Column("number", BigInteger, comment="how many sweeps of the kind have finished, this one included"),
    Index("sweeps_by_number", "kind", text("number DESC"), postgresql_where=text("number IS NOT NULL")),
)

sweep_slices = Table(
    "sweep_slices",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("run_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("partner_id", BigInteger, nullable=False),
    Column("user_from", BigInteger, nullable=False),
    Column("user_to", BigInteger, nullable=False, comment="inclusive"),
    Column("alerts", BigInteger, nullable=False, comment="live ones, counted when the slices were cut"),
    Column("leased_until", Instant),
    Column("leased_by", Text),
    Column("done_at", Instant),
    Column("fired", BigInteger),
    Column("traceparent", Text, comment="the run's"),
    Index("sweep_slices_open", "id", postgresql_where=text("done_at IS NULL")),
    Index("sweep_slices_of_run", "run_id", "kind"),
)

evaluation_ledger = Table(
    "evaluation_ledger",
    metadata,
    Column("minute", Instant, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("way", Text, primary_key=True),
    Column("replica", Text, primary_key=True),
    Column("evaluated", BigInteger, nullable=False),
    Column("true", BigInteger, nullable=False),
    Column("fired", BigInteger, nullable=False),
    Column("backfill", BigInteger, nullable=False),
    Column("snoozed", BigInteger, nullable=False),
    Column("currency", BigInteger, nullable=False),
    Column("stale", BigInteger, nullable=False),
    Column("cooldown", BigInteger, nullable=False),
    Column("not_rearmed", BigInteger, nullable=False),
    Column("already_sent", BigInteger, nullable=False),
    Column("passed", BigInteger, nullable=False),
    CheckConstraint(
        '"true" = fired + backfill + snoozed + currency + stale + cooldown + not_rearmed + already_sent + passed',
        name="evaluation_ledger_true",
    ),
    CheckConstraint('evaluated >= "true"', name="evaluation_ledger_evaluated"),
)

outbox = outbox_table(metadata)
idempotency_keys = idempotency_table(metadata)
