"""Statements about history, suppressions, verifications and dead letters use their index on large tables."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import TextClause

from tocsin_dispatcher.store import (
    attempts,
    claims,
    deliveries,
    letters,
    receipts,
    suppression_list,
    suppressions,
    timeline,
    verifications,
)

from .bench import Bench
from .conftest import MakeBench
from .test_schema import _fill, _plan

LARGE = (
    "deliveries",
    "notifications",
    "attempts",
    "receipts",
    "delivery_events",
    "suppressions",
    "dead_letters",
    "contacts",
)


async def _fill_more(bench: Bench) -> None:
    """A line of history and an attempt for each of the 100,000 deliveries, as many suppressions and dead letters, a
    hundredth of the deliveries failed."""
    now = {"at": bench.clock.now()}
    await bench.execute(
        "UPDATE deliveries SET status = 'failed', failed_at = created_at WHERE status = 'sent' AND random() < 0.01"
    )
    await bench.execute(
        "INSERT INTO delivery_events (partner_id, delivery_id, at, happening) SELECT partner_id, id, :at, 'held'"
        " FROM deliveries",
        **now,
    )
    await bench.execute(
        "INSERT INTO attempts (partner_id, delivery_id, number, provider, credential, started_at, possible_duplicate)"
        " SELECT partner_id, id, 1, 'sendgrid', '', :at, false FROM deliveries",
        **now,
    )
    await bench.execute(
        "INSERT INTO suppressions (partner_id, channel, address_hash, reason, source, at, said_at)"
        " SELECT i % 100, 'email', int4send(i), 'bounced', '', CAST(:at AS timestamptz) - i * interval '1 minute', :at"
        "   FROM generate_series(1, 100000) i",
        **now,
    )
    await bench.execute(
        "INSERT INTO dead_letters (id, stream, subject, message_id, bytes, error, at, taken_in_at)"
        " SELECT uuidv7(), 'FIRINGS', '', 'm' || i, '', '', CAST(:at AS timestamptz) - i * interval '1 minute',"
        "        CASE WHEN i % 100 > 0 THEN CAST(:at AS timestamptz) END FROM generate_series(1, 100000) i",
        **now,
    )
    await bench.execute(
        "INSERT INTO contacts (partner_id, user_id, email, phone, locale, time_zone, version)"
        " SELECT 1, i, 'user' || i || '@example.com', '+1312' || i, 'en', 'UTC', 1 FROM generate_series(1, 50000) i"
    )
    await bench.execute(
        "INSERT INTO verifications SELECT 1, i, 'sms', uuidv7(), '', '', '', 0, :at, :at, NULL"
        " FROM generate_series(1, 50000) i",
        **now,
    )
    for table in (*LARGE, "verifications"):
        await bench.execute(f"ANALYZE {table}")


@pytest.mark.timeout(120)
async def test_they_use_their_index(benches: MakeBench) -> None:
    """Whatever is large is never read whole."""
    bench = await benches()
    await _fill(bench)
    await _fill_more(bench)
    now, some = bench.clock.now(), bench.ids.uuid7()
    these = {"partner_id": 1, "ids": [some]}
    none = dict.fromkeys(("channel", "cause", "address_hash", "after_at", "after_id"))
    page = {**none, "size": 51, "with_lifted": False}
    letter = dict.fromkeys(("stream", "error", "since", "until", "after_at", "after_id"))
    ended = {"since": now - timedelta(hours=9), "until": now, "size": 100}
    every = dict.fromkeys(("partner_id", "channel", "status", "provider", "error"))
    me = {"partner_id": 1, "user_id": 7, "channel": "sms"}
    said = {"x_partner_id": [1], "x_channel": ["email"], "x_address_hash": [b""], "x_reason": ["bounced"]}
    lifted = {**said, "x_at": [now], "x_lifted_by": [""], "x_only_of": [None]}
    aside = {
        **{f"x_{name}": [None] for name in ("reason", "due_at", "expires_at", "merged_into", "fact_key")},
        **{"x_partner_id": [1], "x_id": [some], "x_leased_until": [now], "x_status": ["held"], "now": now},
    }
    lane = {"w_lane": ["realtime"], "channel": "sms", "slots": 50, "after": 0, "now": now, "leased_until": now}
    by_id = "Index Scan using deliveries_"  # the primary key, or deliveries_by_id where there is one bank
    cases: list[tuple[TextClause, dict[str, object], str]] = [
        (timeline._NOTIFICATION, {"partner_id": 1, "user_id": 7, "id": some}, "notifications_pkey"),
        (timeline._DELIVERIES, {"partner_id": 1, "id": some}, "deliveries_planned_once"),
        (timeline._HAPPENINGS, dict(these), "delivery_events_pkey"),
        (timeline._ATTEMPTS, dict(these), "attempts_pkey"),
        (timeline._RECEIPTS, dict(these), "receipts_of_delivery"),
        (deliveries._ENDED_BADLY, {**every, **ended}, "deliveries_ended_badly"),
        (
            deliveries._RETRY,
            {"partner_id": 1, "id": some, "now": now, "expires_at": now},
            "Index Scan using deliveries_",
        ),
        (attempts._SET_ASIDE, dict(aside), by_id),
        (claims._CLAIM, dict(lane), "verifications_pkey"),
        (suppression_list._LIST, {**page, "partner_id": 7}, "suppressions_of_partner"),
        (suppression_list._LIST, {**page, "partner_id": None}, "suppressions_listed"),
        (
            suppression_list._LIST,
            {**page, "partner_id": 7, "channel": "email", "address_hash": b"\0"},
            "suppressions_pkey",
        ),
        (
            suppression_list._REMOVE,
            {"partner_id": 1, "id": some, "subject": "", "now": now},
            "suppressions_by_id",
        ),
        (suppressions._LIFT, dict(lifted), "Conflict Arbiter Indexes: suppressions_pkey"),
        (letters._WAITING, {**letter, "size": 100}, "dead_letters_waiting"),
        (letters._LIST, {**letter, "size": 51, "with_taken_in": False}, "dead_letters_waiting"),
        (letters._LIST, {**letter, "size": 51, "with_taken_in": True}, "dead_letters_at"),
        (letters._NAMED, {"ids": [some]}, "dead_letters_pkey"),
        (
            letters._INSERT,
            {
                **{f"x_{name}": [""] for name in ("stream", "subject", "message_id", "error")},
                **{"x_id": [some], "x_bytes": [b""], "x_at": [now]},
            },
            "dead_letters_named",
        ),
        (verifications._TRY, {**me, "most": 5, "now": now}, "verifications_pkey"),
        (receipts._PARTNERS, {"addresses": ["+13125550123", "a@example.com"]}, "contacts_by_phone"),
        (receipts._PARTNERS, {"addresses": ["+13125550123", "a@example.com"]}, "contacts_by_email"),
        (receipts._EMAILS, {"k_partner_id": [1], "k_user_id": [7]}, "contacts_pkey"),
    ]
    for sql, values, index in cases:
        plan = await _plan(bench, sql, values)
        assert index in plan, f"wanted {index}:\n{plan}"
        for table in (*LARGE, "verifications"):
            assert f"Seq Scan on {table}" not in plan, plan
