"""Replicas side by side under load: every notification exactly once."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby

from prometheus_client import CollectorRegistry

from tests.acceptance.conftest import OpenStack
from tocsin_devstack.reading import Databases, reading
from tocsin_devstack.stack import Stack
from tocsin_kit.clock import Clock, SystemClock

USERS, WRITERS, SECONDS = 20, 8, 30
LOW, HIGH = "400.00", "600.00"
BELOW = {"threshold": "500.00", "currency": "USD", "direction": "below"}
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
_THRESHOLDS = """
    SELECT f.user_id, a.repeat, f.context->>'balance' AS balance, (f.context->>'as_of')::timestamptz AS as_of
    FROM firings f JOIN alerts a ON a.partner_id = f.partner_id AND a.id = f.alert_id
    WHERE f.kind = 'account_threshold'
"""
_PURCHASES = "SELECT context->>'transaction_id' AS id FROM firings WHERE kind = $1"


@dataclass
class Posted:
    """What the writers posted: purchases by id, and each user's balances by the instant they were as of."""

    clock: Clock
    purchases: list[str] = field(default_factory=list)
    balances: dict[int, dict[datetime, str]] = field(default_factory=dict)
    _latest: datetime = LONG_AGO

    def as_of(self, users: list[int], balance: str) -> datetime:
        """An instant of no other balance, at which these users have this one."""
        self._latest = max(self.clock.now(), self._latest + _TICK)
        for user in users:
            self.balances.setdefault(user, {})[self._latest] = balance
        return self._latest

    def times_below(self, user: int) -> list[set[datetime]]:
        """The stretches in which the user's balance was low, as the instants of their postings.

        A bank's older balance never overwrites a newer one, so what was stored went through these in their order, and
        crossed the threshold once a stretch at most.
        """
        in_order = sorted(self.balances[user].items())
        stretches = groupby(in_order, key=lambda posting: posting[1])
        return [{instant for instant, _ in stretch} for balance, stretch in stretches if balance == LOW]


async def person(stack: Stack, user: int) -> None:
    async def must(path: str, body: object, token: str) -> None:
        answer = await stack.rest("POST", path, token=token, body=body)
        assert answer.status < 300, answer.body

    service = stack.service_token()
    profile = {"user_id": str(user), "email": f"u{user}@example.com", "email_verified": True, "time_zone": "UTC"}
    account = {"id": str(user), "user_id": str(user), "name": "Checking", "balance": "900.00", "currency": "USD"}
    await must("/api/v2/ingest/profiles", {"profiles": [profile]}, service)
    await must("/api/v2/ingest/accounts", {"accounts": [account]}, service)
    below = {**BELOW, "account_id": str(user)}
    alerts = (
        {"transaction_limit": {"amount": "100.00", "currency": "USD"}},
        {"merchant_name": {"merchant_pattern": "market", "match_type": "contains"}, "email_delivery": False},
        {"account_threshold": {**below, "repeat": "on_crossing"}, "email_delivery": False},
        {"account_threshold": {**below, "repeat": "while_true"}, "email_delivery": False},
    )
    for alert in alerts:
        await must("/api/v2/alerts", alert, stack.user_token(user))


async def post(stack: Stack, kind: str, items: list[dict[str, str]]) -> None:
    answer = await stack.rest("POST", f"/api/v2/ingest/{kind}", token=stack.service_token(), body={kind: items})
    assert answer.status == 200, answer.body
    assert not answer.body.get("rejected"), answer.body


def accounts(posted: Posted, users: list[int], balance: str) -> list[dict[str, str]]:
    money = {"balance": balance, "currency": "USD", "as_of": posted.as_of(users, balance).isoformat()}
    return [{"id": str(user), "user_id": str(user), "name": "Checking", **money} for user in users]


async def write(stack: Stack, writer: int, ends: float, posted: Posted) -> None:
    """Post purchases and balances for the same users until the time is up, some of them again with a change."""
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
        in_order = sorted(users, reverse=bool(writer % 2))
        balances = accounts(posted, in_order, LOW if (number + writer) % 2 else HIGH)
        for again in range(1 + number % 2):
            await post(stack, "transactions", [{**each, "description": f"told {again}"} for each in transactions])
            await post(stack, "accounts", balances)
        posted.purchases += [each["id"] for each in transactions]


async def loaded(stack: Stack) -> Posted:
    """Everybody's alerts, then all writers at once until the time is up; in the end all balances are low and all is
    quiet. Answers what was posted."""
    everybody = list(range(1, USERS + 1))
    for user in everybody:
        await person(stack, user)
    posted = Posted(stack.clock)
    ends = asyncio.get_running_loop().time() + SECONDS
    async with asyncio.TaskGroup() as group:
        for writer in range(1, WRITERS + 1):
            group.create_task(write(stack, writer, ends, posted))
    await post(stack, "accounts", accounts(posted, everybody, LOW))
    await stack.activity.until_quiet(timedelta(seconds=100))
    return posted


async def test_two_evaluators_and_two_dispatchers_under_eight_writers_notify_exactly_once(
    open_stack: OpenStack,
) -> None:
    replicas = {"evaluator": 2, "dispatcher": 2}
    generous = {"gateway": {"TOCSIN_CALLS_PER_SECOND": "100000", "TOCSIN_CALLS_AT_ONCE": "100000"}}
    async with (
        open_stack(SystemClock(), replicas=replicas, settings=generous) as stack,
        reading(stack.database_urls) as databases,
    ):
        posted = await loaded(stack)

        await each_purchase_fired_once_a_kind(databases, posted)
        await each_threshold_fired_once_a_cooldown_or_crossing(databases, posted)
        fired = Counter(row["id"] for row in await databases.of["evaluator"].fetch("SELECT id FROM firings"))
        told = Counter(row["id"] for row in await databases.of["dispatcher"].fetch("SELECT id FROM notifications"))
        assert told == fired
        repeated = {id_: n for id_, n in stack.sendgrid.account.calls_by_delivery.items() if n > 1}
        assert repeated == {}
        fired_by = [total(one, "tocsin_fact_to_firing_seconds_count") for one in stack.registries["evaluator"]]
        assert min(fired_by) > 0, f"the evaluators shared the firings as {fired_by}"
        sent_by = [total(one, "tocsin_provider_attempts_total") for one in stack.registries["dispatcher"]]
        assert min(sent_by) > 0, f"the dispatchers shared the attempts as {sent_by}"


async def each_purchase_fired_once_a_kind(databases: Databases, posted: Posted) -> None:
    for kind in ("merchant_name", "transaction_limit"):
        rows = await databases.of["evaluator"].fetch(_PURCHASES, kind)
        assert Counter(row["id"] for row in rows) == Counter(posted.purchases), kind


async def each_threshold_fired_once_a_cooldown_or_crossing(databases: Databases, posted: Posted) -> None:
    """A cooldown is longer than the run; of a crossing the instant in the firing says which stretch it was in."""
    rows = await databases.of["evaluator"].fetch(_THRESHOLDS)
    assert {row["balance"] for row in rows} == {LOW}
    users = range(1, USERS + 1)
    assert Counter(row["user_id"] for row in rows if row["repeat"] == "while_true") == Counter(users)
    for user in users:
        fired = [row["as_of"] for row in rows if (row["user_id"], row["repeat"]) == (user, "on_crossing")]
        in_stretches = [sum(instant in stretch for instant in fired) for stretch in posted.times_below(user)]
        assert max(in_stretches) == 1, f"user {user}'s crossings fired {in_stretches} times each"
        assert sum(in_stretches) == len(fired), f"user {user}: a firing as of an instant that nobody posted"


def total(registry: CollectorRegistry, name: str) -> float:
    """The sum of a metric's samples over all labels."""
    return sum(one.value for family in registry.collect() for one in family.samples if one.name == name)
