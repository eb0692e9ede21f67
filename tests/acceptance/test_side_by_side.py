"""Replicas side by side under load: every notification exactly once."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from tests.acceptance.conftest import OpenStack
from tocsin_devstack.stack import Stack
from tocsin_kit.clock import SystemClock

USERS, WRITERS, SECONDS = 20, 8, 30


async def rows(stack: Stack, service: str, query: str) -> list[Any]:
    engine = create_async_engine(make_url(stack.database_urls[service]).set(drivername="postgresql+asyncpg"))
    try:
        async with engine.connect() as connection:
            return list((await connection.execute(text(query))).all())
    finally:
        await engine.dispose()


async def person(stack: Stack, user: int) -> None:
    async def must(path: str, body: object, token: str) -> None:
        answer = await stack.rest("POST", path, token=token, body=body)
        assert answer.status < 300, answer.body

    service = stack.service_token()
    profile = {"user_id": str(user), "email": f"u{user}@example.com", "email_verified": True, "time_zone": "UTC"}
    account = {"id": str(user), "user_id": str(user), "name": "Checking", "balance": "900.00", "currency": "USD"}
    await must("/api/v2/ingest/profiles", {"profiles": [profile]}, service)
    await must("/api/v2/ingest/accounts", {"accounts": [account]}, service)
    alerts = (
        {"transaction_limit": {"amount": "100.00", "currency": "USD"}},
        {"merchant_name": {"merchant_pattern": "market", "match_type": "contains"}, "email_delivery": False},
        {
            "account_threshold": {
                "account_id": str(user),
                "threshold": "500.00",
                "currency": "USD",
                "direction": "below",
                "repeat": "on_crossing",
            },
            "email_delivery": False,
        },
    )
    for alert in alerts:
        await must("/api/v2/alerts", alert, stack.user_token(user))


async def write(stack: Stack, writer: int, ends: float, posted: Counter[str]) -> None:
    """Post purchases and balances for the same users until the time is up, some of them twice."""
    number, loop = 0, asyncio.get_running_loop()
    while loop.time() < ends:
        number += 1
        users = [(number + offset) % USERS + 1 for offset in range(5)]
        today = f"{stack.clock.now():%Y-%m-%d}"
        transactions = [
            {
                "id": str(writer * 1_000_000 + number * 10 + place),
                "user_id": str(user),
                "account_id": str(user),
                "amount": "-150.00",
                "currency": "USD",
                "merchant": f"Market {writer}-{number}-{place}",
                "posted_on": today,
            }
            for place, user in enumerate(users)
        ]
        balance = "400.00" if number % 2 else "600.00"
        accounts = [
            {"id": str(user), "user_id": str(user), "name": "Checking", "balance": balance, "currency": "USD"}
            for user in sorted(users, reverse=bool(writer % 2))
        ]
        for _ in range(1 + number % 2):
            for kind, items in (("transactions", transactions), ("accounts", accounts)):
                answer = await stack.rest(
                    "POST", f"/api/v2/ingest/{kind}", token=stack.service_token(), body={kind: items}
                )
                assert answer.status == 200, answer.body
                assert not answer.body.get("rejected"), answer.body
        posted["transactions"] += len(transactions)


async def test_two_evaluators_and_two_dispatchers_under_eight_writers_notify_exactly_once(
    open_stack: OpenStack,
) -> None:
    replicas = {"evaluator": 2, "dispatcher": 2}
    generous = {"gateway": {"TOCSIN_CALLS_PER_SECOND": "100000", "TOCSIN_CALLS_AT_ONCE": "100000"}}
    async with open_stack(SystemClock(), replicas=replicas, settings=generous) as stack:
        for user in range(1, USERS + 1):
            await person(stack, user)
        posted: Counter[str] = Counter()
        ends = asyncio.get_running_loop().time() + SECONDS
        async with asyncio.TaskGroup() as group:
            for writer in range(1, WRITERS + 1):
                group.create_task(write(stack, writer, ends, posted))
        await stack.activity.until_quiet(timedelta(seconds=100))
        by_kind = dict(await rows(stack, "evaluator", "SELECT kind, count(*) FROM firings GROUP BY kind"))
        assert by_kind["merchant_name"] == by_kind["transaction_limit"] == posted["transactions"]
        fired = {row.id for row in await rows(stack, "evaluator", "SELECT id FROM firings")}
        told = [row.id for row in await rows(stack, "dispatcher", "SELECT id FROM notifications")]
        assert len(told) == len(set(told))
        assert set(told) == fired
        repeated = {id_: n for id_, n in stack.sendgrid.account.calls_by_delivery.items() if n > 1}
        assert repeated == {}
        crossings = await rows(
            stack,
            "evaluator",
            "SELECT alert_id, context->>'balance' AS balance FROM firings WHERE kind = 'account_threshold'",
        )
        assert crossings
        assert all(row.balance == "400.00" for row in crossings)
