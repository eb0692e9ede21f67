"""Digests of very many people and messages, and how their statements are planned."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import TextClause
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_dispatcher.delivering.digesting import whole_digests
from tocsin_dispatcher.store import claims, digests, fates, ledger
from tocsin_dispatcher.store.claims import claim
from tocsin_dispatcher.values import (
    Channel,
)

from .bench import Bench
from .conftest import MakeBench
from .test_digests import ALL, MORNING


async def _notified(bench: Bench, people: int, each: int) -> None:
    """So many notifications of each of so many people, from user 2 on, without deliveries."""
    await bench.intake.take_in([bench.firing()])
    columns = """alert_id, kind, class, critical, daily_digest, alert_name, title, message, action_url, metadata,
        profile_version, time_zone, locale, planned, fired_at, created_at, version"""
    await bench.execute(
        f"""
INSERT INTO notifications (partner_id, id, user_id, {columns})
SELECT partner_id, uuidv7(), u, {columns} FROM notifications, generate_series(2, :last) u, generate_series(1, :each)
""",  # noqa: S608 - names of our own
        last=people + 1,
        each=each,
    )


async def _many_held(bench: Bench, people: int, each: int) -> None:
    """So many messages of each of so many people, held until the morning."""
    await _notified(bench, people, each)
    await bench.execute(
        """
INSERT INTO deliveries (partner_id, id, notification_id, user_id, channel, class, status, reason, due_at, expires_at,
                        created_at)
SELECT partner_id, uuidv7(), id, user_id, 'email', class, 'held', 'quiet_hours', :due, :due, created_at
  FROM notifications WHERE user_id > 1
""",
        due=MORNING,
    )
    await bench.execute("ANALYZE deliveries")


async def test_of_very_many_people_each_has_one_digest(benches: MakeBench) -> None:
    bench = await benches()
    people, each = 8, 900
    await _many_held(bench, people, each)
    now = MORNING + timedelta(seconds=1)
    lease, had = now + timedelta(minutes=1), Counter[int]()
    while len(had) < people:
        async with bench.engine.begin() as connection:
            claims = await claim(connection, Channel.EMAIL, ALL, 200, now, lease)
            claims = await whole_digests(connection, Channel.EMAIL, claims, now, lease)
        claimed = Counter(one.delivery.user_id for one in claims if one.delivery.user_id > 1)
        assert set(claimed.values()) == {each}, "nobody's in part"
        assert not set(claimed) & set(had)
        had |= claimed


async def _nights(bench: Bench) -> None:
    """A digest of ten alerts for a hundred people a night, for a hundred nights; and ten alerts of each of a thousand
    people, held this night."""
    await _notified(bench, people=1000, each=110)
    await bench.execute(
        """
INSERT INTO deliveries (partner_id, id, purpose, user_id, channel, class, status, attempt, expires_at, created_at)
SELECT 1, uuidv7(), 'digest', i % 1000 + 2, 'email', 'realtime', 'sent', 1, :now,
       CAST(:now AS timestamptz) - i / 100 * interval '1 day'
  FROM generate_series(0, 9999) i
""",
        now=MORNING,
    )
    await bench.execute(
        """
INSERT INTO deliveries (partner_id, id, notification_id, user_id, channel, class, status, reason, due_at, merged_into,
                        expires_at, created_at)
SELECT 1, uuidv7(), t.id, t.user_id, 'email', 'realtime', CASE WHEN g.id IS NULL THEN 'held' ELSE 'merged' END,
       CASE WHEN g.id IS NULL THEN 'quiet_hours' ELSE 'merged' END,
       CASE WHEN g.id IS NULL THEN CAST(:now AS timestamptz) END, g.id, :now, coalesce(g.created_at, :now)
  FROM (SELECT id, user_id, row_number() OVER (PARTITION BY user_id ORDER BY id) - 1 AS place
          FROM notifications WHERE user_id > 1) t
  LEFT JOIN (SELECT id, user_id, created_at, row_number() OVER (PARTITION BY user_id ORDER BY id) - 1 AS place
               FROM deliveries WHERE purpose = 'digest') g ON g.user_id = t.user_id AND g.place = t.place / 10
""",
        now=MORNING,
    )
    await bench.execute("ANALYZE deliveries, notifications")


async def _plan_kept(connection: AsyncConnection, sql: TextClause) -> str:
    """The plan that is made once for whatever comes."""
    compiled = sql.compile(dialect=connection.dialect)
    unknown = ", ".join(["NULL"] * len(compiled.positiontup or ()))
    await connection.exec_driver_sql(f"PREPARE kept AS {compiled}")
    rows = await connection.exec_driver_sql(f"EXPLAIN (COSTS OFF) EXECUTE kept({unknown})")
    plan = "\n".join(rows.scalars())
    await connection.exec_driver_sql("DEALLOCATE kept")
    return plan


@pytest.mark.timeout(120)
async def test_statements_about_digests_use_their_index_on_large_tables_whatever_comes(benches: MakeBench) -> None:
    bench = await benches()
    await _nights(bench)
    mine = "Index Cond: ((partner_id = {0}.partner_id) AND (user_id = {0}.user_id) AND (channel ="
    told = "Index Cond: ((partner_id = {0}.partner_id) AND (merged_into = {0}.id))"
    cases = [
        (claims._CLAIM, "deliveries_held_together on deliveries e", mine.format("d_4")),
        (digests._CLAIM_OTHERS, "deliveries_held_together", mine.format("k")),
        (digests._COUNT_OTHERS, "deliveries_held_together", mine.format("k")),
        (digests._MEMBERS, "deliveries_merged", told.format("k")),
        (digests._LOCK, "deliveries_by_id", "Index Cond: (id = x.id)"),
        (digests._TAKE_OUT, "deliveries_by_id", "Index Cond: (id = x.id)"),
        (fates._RELEASE, "deliveries_merged", told.format("e")),
        (ledger._HOLLOW, "deliveries_created", "Index Cond: ((created_at >= $1) AND (created_at < $2))"),
        (ledger._ORPHANS, "deliveries_created", "Index Cond: ((created_at >= $1) AND (created_at < $2))"),
        (ledger._ORPHANS, "deliveries_by_id", "Index Cond: (id = m.merged_into)"),
        (ledger._HOLLOW, "deliveries_merged", told.format("d")),
    ]
    async with bench.engine.connect() as connection:
        await connection.exec_driver_sql("SET plan_cache_mode = force_generic_plan")
        await connection.exec_driver_sql("SET enable_seqscan = off")  # both as KeptPlans does
        for sql, index, condition in cases:
            plan = await _plan_kept(connection, sql)
            assert index in plan, f"wanted {index}:\n{plan}"
            assert condition in plan, f"wanted {condition}:\n{plan}"
            assert "Seq Scan on deliveries" not in plan, plan
            assert "Seq Scan on notifications" not in plan, plan
