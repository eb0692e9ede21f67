"""What intake and the workers run goes by index also by plans that are kept, made when nearly nothing waited."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import TextClause, text

from tocsin_dispatcher.store import (
    attempts,
    breaker_rows,
    claims,
    counters,
    digests,
    facts,
    fates,
    inboxes,
    look_ups,
    moving_on,
    notifications,
    own_addresses,
    receipts,
    recipients,
    suppressions,
    taking_in,
)
from tocsin_dispatcher.store.database import GROWING

from .bench import Bench
from .conftest import MakeBench
from .test_schema import _fill

WORK = (
    attempts,
    breaker_rows,
    claims,
    counters,
    digests,
    facts,
    fates,
    inboxes,
    look_ups,
    moving_on,
    notifications,
    own_addresses,
    receipts,
    recipients,
    suppressions,
    taking_in,
)
#: Of the same modules, but run for callbacks, by the pool that keeps no plans.
_ELSEWHERE = {f"{receipts.__name__}.{name}" for name in ("_PARTNERS", "_EMAILS")}
_SCAN = re.compile(r"(Seq|Index Only|Index) Scan (?:using \S+ )?on (\S+)")
_CONDITION = re.compile(r"Index Cond: .*[=<>]")
"""Beside a value: that a column is not null is no condition, where the index holds no other rows."""
_BITMAP = re.compile(r"Bitmap Index Scan on (\S+)")

_PEOPLE = (
    "INSERT INTO contacts (partner_id, user_id, locale, time_zone, version, email_verified_at)"
    " SELECT 1, i, 'en', 'UTC', 1, :at FROM generate_series(1, 50000) i",
    "INSERT INTO preferences (partner_id, user_id, updated_at) SELECT 1, i, :at FROM generate_series(1, 50000) i",
    "INSERT INTO unread SELECT 1, i, 0, 0 FROM generate_series(1, 50000) i WHERE CAST(:at AS timestamptz) IS NOT NULL",
    "INSERT INTO suppressions (partner_id, channel, address_hash, reason, source, at, said_at)"
    " SELECT 1, 'email', int4send(i), 'bounced', '', :at, :at FROM generate_series(1, 50000) i",
    "INSERT INTO attempts (partner_id, delivery_id, number, provider, credential, started_at, possible_duplicate)"
    " SELECT partner_id, id, 1, 'sendgrid', '', :at, false FROM deliveries",
)


def _statements() -> dict[str, TextClause]:
    return {
        f"{module.__name__}.{name}": value
        for module in WORK
        for name, value in vars(module).items()
        if isinstance(value, TextClause) and f"{module.__name__}.{name}" not in _ELSEWHERE
    }


async def _kept_plan(bench: Bench, sql: TextClause) -> str:
    """As it is made once for whatever comes: EXPLAIN (GENERIC_PLAN) of a bound statement still sees its values."""
    nothing = f"({', '.join(['NULL'] * len(sql._bindparams))})" if sql._bindparams else ""
    async with bench.engine.connect() as connection:
        await connection.execute(text("SET LOCAL enable_seqscan = off"))
        await connection.execute(text("SET LOCAL plan_cache_mode = force_generic_plan"))
        await connection.exec_driver_sql(f"PREPARE kept AS {sql.compile(dialect=bench.engine.dialect)}")
        explained = await connection.exec_driver_sql(f"EXPLAIN (COSTS OFF) EXECUTE kept {nothing}")
        plan = "\n".join(explained.scalars())
        await connection.exec_driver_sql("DEALLOCATE kept")
        return plan


def _read_whole(plan: str) -> list[str]:
    """The growing tables that are read without a condition on an index."""
    lines = plan.splitlines()
    return [line.strip() for line, following in zip(lines, [*lines[1:], ""], strict=True) if _is_whole(line, following)]


def _is_whole(line: str, following: str) -> bool:
    if bitmap := _BITMAP.search(line):
        return bitmap[1].startswith(tuple(GROWING)) and not _CONDITION.search(following)
    scan = _SCAN.search(line)
    return scan is not None and scan[2] in GROWING and (scan[1] == "Seq" or not _CONDITION.search(following))


@pytest.mark.timeout(120)
async def test_no_growing_table_is_read_whole_for_a_few_of_its_rows(benches: MakeBench) -> None:
    bench = await benches()
    await _fill(bench)
    await bench.execute("UPDATE deliveries SET status = 'suppressed', due_at = NULL WHERE status = 'pending'")
    for sql in _PEOPLE:
        await bench.execute(sql, at=bench.clock.now())
    for table in GROWING:
        await bench.execute(f"ANALYZE {table}")
    read_whole = {name: _read_whole(await _kept_plan(bench, sql)) for name, sql in _statements().items()}
    assert {name: scans for name, scans in read_whole.items() if scans} == {}
