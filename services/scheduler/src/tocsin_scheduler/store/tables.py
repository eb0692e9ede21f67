"""The scheduler's tables (data model page)."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from tocsin_kit.postgres.idempotency import idempotency_table
from tocsin_kit.postgres.outbox import outbox_table

metadata = MetaData()
_INSTANT = DateTime(timezone=True)
UNDER_WAY = "state IN ('queued', 'running', 'retrying')"

schedules = Table(
    "schedules",
    metadata,
    Column("name", Text, primary_key=True),
    Column("cron", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("args", JSONB, nullable=False),
    Column("class", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("catch_up", Text, nullable=False),
    Column("next_run_at", _INSTANT, nullable=False),
    CheckConstraint("catch_up IN ('latest', 'none', 'all')", name="schedules_catch_up"),
    CheckConstraint("class IN ('realtime', 'user', 'periodic', 'bills')", name="schedules_class"),
    # the tick's claim
    Index("schedules_due", "next_run_at", "name", postgresql_where=text("enabled")),
    # every tick updates next_run_at: room for the new version on the same page
    postgresql_with={"fillfactor": "85"},
)

schedule_runs = Table(
    "schedule_runs",
    metadata,
    Column("schedule", Text, primary_key=True),
    Column("run_at", _INSTANT, primary_key=True),
    Column("outcome", Text, nullable=False),
    Column("late", Boolean, nullable=False),
    Column("job_id", Uuid),
    Column("at", _INSTANT, nullable=False),
    CheckConstraint("outcome IN ('queued', 'skipped_overlap', 'waiting', 'missed')", name="schedule_runs_outcome"),
    # whose turn is next
    Index("schedule_runs_waiting", "schedule", "run_at", postgresql_where=text("outcome = 'waiting'")),
    # the run a job was made for
    Index("schedule_runs_job", "job_id", postgresql_where=text("job_id IS NOT NULL")),
    # retention
    Index("schedule_runs_at", "at"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("type", Text, nullable=False),
    Column("args", JSONB, nullable=False),
    Column("class", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("due_at", _INSTANT, nullable=False),
    Column("deadline_at", _INSTANT),
    Column("retry_at", _INSTANT),
    Column("created_at", _INSTANT, nullable=False),
    Column("started_at", _INSTANT),
    Column("finished_at", _INSTANT),
    Column("progress_done", BigInteger),
    Column("progress_total", BigInteger),
    Column("result", JSONB(none_as_null=True)),
    Column("errors", JSONB, nullable=False),
    Column("schedule", Text),
    Column("late", Boolean, nullable=False),
    Column("traceparent", Text),
    CheckConstraint("state IN ('queued', 'running', 'succeeded', 'retrying', 'dead', 'cancelled')", name="jobs_state"),
    CheckConstraint("class IN ('realtime', 'user', 'periodic', 'bills')", name="jobs_class"),
    # at most one job under way per schedule and arguments
    Index(
        "jobs_one_per_schedule",
        "schedule",
        "args",
        unique=True,
        postgresql_where=text(f"schedule IS NOT NULL AND {UNDER_WAY}"),
    ),
    # the overseer's claim: a retry that is due, or a deadline that has passed
    Index("jobs_due", func.coalesce(text("retry_at"), text("deadline_at")), "id", postgresql_where=text(UNDER_WAY)),
    # the lists, newest first
    Index("jobs_newest", "created_at", "id"),
    Index("jobs_by_state", "state", "created_at", "id"),
    Index("jobs_by_type", "type", "created_at", "id"),
    # statistics of the last hour, and retention
    Index("jobs_finished", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    postgresql_with={"fillfactor": "70"},
)

inbox = Table(
    "inbox",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("at", _INSTANT, nullable=False, index=True),
)

outbox = outbox_table(metadata)
idempotency_keys = idempotency_table(metadata)
