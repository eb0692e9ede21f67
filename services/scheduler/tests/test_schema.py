"""The statements that matter use their indexes."""

import pytest
from sqlalchemy import text

from .bench import Bench

FILL = (
    "INSERT INTO schedules SELECT 's' || n, '* * * * *', 'UTC', 't', '{}', 'user', true, 'latest',"
    " timestamptz '2025-11-03 13:00Z' + n * interval '1 second' FROM generate_series(1, 20000) n",
    "INSERT INTO schedule_runs SELECT 's' || n, timestamptz '2025-11-03Z', CASE WHEN n % 1000 = 0 THEN 'waiting'"
    " ELSE 'queued' END, false, uuidv7(), timestamptz '2025-11-03Z' FROM generate_series(1, 20000) n",
    "INSERT INTO jobs (id, type, args, class, state, attempt, max_attempts, due_at, deadline_at, created_at, errors,"
    " late, schedule) SELECT uuidv7(), 't', '{}', 'user', CASE WHEN n % 1000 = 0 THEN 'queued' ELSE 'succeeded' END,"
    " 1, 3, timestamptz '2025-11-03Z', timestamptz '2025-11-03Z' + n * interval '1 second',"
    " timestamptz '2025-11-03Z' + n * interval '1 second', '[]', false, 's' || n FROM generate_series(1, 20000) n",
    "ANALYZE",
)


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (
            "SELECT * FROM schedules WHERE enabled AND next_run_at <= timestamptz '2025-11-03 13:01Z'"
            " ORDER BY next_run_at, name LIMIT 500 FOR UPDATE SKIP LOCKED",
            "schedules_due",
        ),
        ("SELECT min(next_run_at) FROM schedules WHERE enabled", "schedules_due"),
        (
            "SELECT * FROM jobs WHERE state IN ('queued', 'running', 'retrying')"
            " AND coalesce(retry_at, deadline_at) <= timestamptz '2025-11-03 00:30Z'"
            " ORDER BY coalesce(retry_at, deadline_at), id LIMIT 200 FOR UPDATE SKIP LOCKED",
            "jobs_due",
        ),
        ("SELECT * FROM jobs ORDER BY created_at DESC, id DESC LIMIT 51", "jobs_newest"),
        ("SELECT schedule FROM schedule_runs WHERE outcome = 'waiting'", "schedule_runs_waiting"),
    ],
)
async def test_a_statement_that_matters_uses_its_index_on_a_large_table(
    bench: Bench, statement: str, index: str
) -> None:
    async with bench.engine.begin() as connection:
        for fill in FILL:
            await connection.execute(text(fill))
        plan = "\n".join(row[0] for row in await connection.execute(text("EXPLAIN " + statement)))
    assert index in plan, plan
