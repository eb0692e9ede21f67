"""The schema: migrations match the models, and statements that matter use their index on large tables."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import TextClause, text

from tocsin_dispatcher.states import transition_pairs
from tocsin_dispatcher.store import (
    claims,
    counters,
    facts,
    fates,
    ledger,
    notifications,
    own_addresses,
    push_subscriptions,
    receipts,
    webhook_endpoints,
)

from .bench import Bench
from .conftest import MakeBench


async def test_the_databases_transitions_are_those_of_the_tuple(benches: MakeBench) -> None:
    bench = await benches()
    rows = await bench.rows("SELECT before, after FROM transitions")
    assert {(row.before, row.after) for row in rows} == set(transition_pairs())


async def _fill(bench: Bench) -> None:
    """100,000 notifications of 2,000 users, an e-mail each; one in a hundred is due."""
    await bench.execute(
        """
INSERT INTO notifications (partner_id, id, user_id, alert_id, kind, class, critical, daily_digest, alert_name, title,
    message, action_url, metadata, profile_version, time_zone, locale, planned, fired_at, created_at, version, read_at)
SELECT 1, uuidv7(), i % 2000, 1, 'goal', 'periodic', false, false, '', 't', 'm', '', '{}', 0, 'UTC', 'en', 1,
       CAST(:at AS timestamptz) - i * interval '1 minute', CAST(:at AS timestamptz) - i * interval '1 minute', i, :at
  FROM generate_series(1, 100000) i
""",
        at=bench.clock.now(),
    )
    await bench.execute(
        """
INSERT INTO deliveries (partner_id, id, notification_id, user_id, channel, class, status, due_at, expires_at,
    fact_key, provider, provider_id, created_at)
SELECT partner_id, uuidv7(), id, user_id, 'email', 'periodic',
       CASE WHEN version % 100 = 0 THEN 'pending' ELSE 'sent' END,
       CASE WHEN version % 100 = 0 THEN created_at END, created_at, 'purchase:' || version, 'sendgrid', 'm' || version,
       created_at
  FROM notifications
"""
    )
    await bench.execute(
        "INSERT INTO counters SELECT 1, i, 'email', :at, 0, 0, CURRENT_DATE, 0 FROM generate_series(1, 50000) i",
        at=bench.clock.now(),
    )
    await bench.execute(
        """
INSERT INTO receipts (provider, event_key, event, provider_id, callback_id, happened_at, received_at, details)
SELECT 'sendgrid', 'e' || i, 'sent', 'm' || i || '.filter', uuidv7(), :at, CAST(:at AS timestamptz) - i * interval
       '1 minute', '{}'
  FROM generate_series(1, 100000) i
""",
        at=bench.clock.now(),
    )
    await bench.execute(
        """
INSERT INTO webhook_endpoints (partner_id, id, user_id, url, shown, name, kinds, created_at)
SELECT 1, uuidv7(), CASE WHEN i % 10000 = 0 THEN NULL ELSE i END, '', '', '', '{}', :at FROM generate_series(1, 50000) i
""",
        at=bench.clock.now(),
    )
    await bench.execute(
        """
INSERT INTO push_subscriptions (partner_id, id, user_id, name, service, endpoint_hash, sealed, created_at)
SELECT 1, uuidv7(), i, '', '', int4send(i), '', :at FROM generate_series(1, 50000) i
""",
        at=bench.clock.now(),
    )
    for table in ("notifications", "deliveries", "counters", "receipts", "webhook_endpoints", "push_subscriptions"):
        await bench.execute(f"ANALYZE {table}")


async def _plan(bench: Bench, sql: TextClause, values: dict[str, object]) -> str:
    explained = text(f"EXPLAIN {sql.text}").bindparams(*sql._bindparams.values())
    async with bench.engine.connect() as connection:
        return "\n".join((await connection.execute(explained, values)).scalars())


@pytest.mark.timeout(120)
async def test_statements_use_their_index_on_a_large_table(benches: MakeBench) -> None:
    bench = await benches()
    await _fill(bench)
    now = bench.clock.now()
    me: dict[str, object] = {"partner_id": 1, "user_id": 7}
    none: dict[str, object] = dict.fromkeys(
        ("after_at", "after_id", "unread", "kind", "alert_id", "critical", "words", "since", "until")
    )
    minute = {"since": now - timedelta(minutes=10), "until": now, "partner_id": 0}
    user = {"k_partner_id": [1], "k_user_id": [7]}
    one: dict[str, object] = {"k_partner_id": [1], "k_id": [bench.ids.uuid7()]}
    full = {"r_destination_id": [bench.ids.uuid7()], "r_room": [0]}
    cases: list[tuple[TextClause, dict[str, object], str]] = [
        (
            claims._CLAIM,
            {"w_lane": ["periodic"], "channel": "email", "slots": 50, "after": 0, "now": now, "leased_until": now},
            "deliveries_due_by_partner",
        ),
        (
            claims._CLAIM_SHARED,
            {
                **{
                    "w_lane": ["periodic"],
                    "channel": "email",
                    "slots": 50,
                    "after": 0,
                    "now": now,
                    "leased_until": now,
                },
                **full,
            },
            "deliveries_due_by_partner",
        ),
        (claims._NEXT_DUE, {"w_lane": ["periodic"], "channel": "email"}, "deliveries_due"),
        (claims._NEXT_DUE_SHARED, {"w_lane": ["periodic"], "channel": "email", **full}, "deliveries_due"),
        (own_addresses._OF_USERS, dict(user), "push_subscriptions_of_user"),
        (own_addresses._OF_USERS, dict(user), "webhook_endpoints_of_user"),
        (own_addresses._READ_ENDPOINTS, {**one, "now": now}, "webhook_endpoints_pkey"),
        (own_addresses._READ_SUBSCRIPTIONS, {**one, "k_user_id": [7]}, "push_subscriptions_pkey"),
        (
            webhook_endpoints._LIST[True],
            {**me, **none, "size": 50, "id": None, "now": now},
            "webhook_endpoints_of_user",
        ),
        (
            webhook_endpoints._LIST[False],
            {**none, "partner_id": 1, "user_id": None, "size": 50, "id": None, "now": now},
            "webhook_endpoints_of_user",
        ),
        (push_subscriptions._LIST, {**me, **none, "size": 50}, "push_subscriptions_of_user"),
        (notifications._DELIVERIES_TOLD, dict(one), "deliveries_planned_once"),
        (
            facts._TELLING,
            {**user, "k_channel": ["email"], "k_fact_key": ["purchase:7"], "k_destination_id": [None]},
            "deliveries_one_per_fact",
        ),
        (notifications._LIST, {**me, **none, "size": 50}, "notifications_listed"),
        (notifications._CHANGES, {**me, "since": 99_000, "size": 50}, "notifications_changed"),
        (notifications._DELIVERIES, {"partner_id": 1, "ids": [bench.ids.uuid7()]}, "deliveries_planned_once"),
        (receipts._BY_MESSAGE, {"provider": "sendgrid", "provider_ids": ["m7"]}, "deliveries_of_provider"),
        (receipts._MISSED, {"since": now - timedelta(hours=1), "size": 500}, "receipts_missed"),
        (receipts._MISSED, {"since": now - timedelta(hours=1), "size": 500}, "deliveries_of_provider"),
        (fates._JOINED, {"e_partner_id": [1], "e_id": [bench.ids.uuid7()]}, "deliveries_merged"),
        (ledger._MINUTES, dict(minute), "notifications_fired"),
        (ledger._UNPLANNED, dict(minute), "notifications_created on notifications n"),
        (ledger._UNPLANNED, dict(minute), "Index Cond: ((created_at >= "),
        (ledger._UNPLANNED, dict(minute), "deliveries_planned_once"),
        (ledger._COUNT_LATE, {"before": now}, "deliveries_due on deliveries d"),
        (ledger._COUNT_LATE, {"before": now}, "(due_at < '"),
        (ledger._LOST, {"before": now, "partner_id": 1}, "(due_at < '"),
        (ledger._OVERDUE, {"before": now, "partner_id": 1}, "(due_at < '"),
        (
            counters._READ,
            {**user, "k_hour": [now], "k_day": [now.date()], "channel": "email"},
            "counters_pkey",
        ),
    ]
    for sql, values, index in cases:
        plan = await _plan(bench, sql, values)
        assert index in plan, f"wanted {index}:\n{plan}"
        assert "Seq Scan on deliveries" not in plan, plan
        assert "Seq Scan on webhook_endpoints" not in plan, plan
        assert "Seq Scan on push_subscriptions" not in plan, plan
        if sql in (claims._CLAIM, claims._CLAIM_SHARED):
            assert "using deliveries_due on" not in plan, (
                f"a small partner is looked for in a large one's rows:\n{plan}"
            )
        assert "Seq Scan on notifications" not in plan, plan
        assert "Seq Scan on receipts" not in plan, plan
