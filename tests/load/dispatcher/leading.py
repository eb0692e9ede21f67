"""From a fact that is posted to the provider that is called: evaluator, broker and dispatcher, each a process."""

import asyncio
import statistics
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
import grpc
from rich.console import Console

from tests.load.dispatcher.driving import (
    Provider,
    Used,
    at_pace,
    fill_pending,
    fill_people,
    fill_sent,
    providing,
    settle,
    watching,
)
from tests.load.dispatcher.provider import ANSWERS_AFTER
from tests.load.measures import Budget, Measure
from tests.load.rig import Rig, rig
from tocsin.alerts.v1 import fact_pb2, fact_pb2_grpc

WAYS = (
    (50, Budget("fact_to_provider_p50_ms", 60, False, "fact posted to provider called, 100 firings/s")),
    (95, Budget("fact_to_provider_p95_ms", 150, False, "the same, 95 of 100")),
    (99, Budget("fact_to_provider_p99_ms", 400, False, "the same, 99 of 100")),
)
BEHIND = Budget(
    "critical_behind_backlog_p95_ms", 500, False, "the same for a critical one behind 500,000 queued periodic e-mails"
)

RATE, SECONDS = 100, 60.0
CRITICAL_RATE, CRITICAL_SECONDS = 10, 30.0
BACKLOG = 500_000
#: E-mails of one user in the backlog: fewer than the hour's limit, which would hold the rest.
_OF_ONE = 5
_WARM_UP = 100
_AHEAD = timedelta(minutes=10)
_SENT = 20_000
"""E-mails of the day before."""

Connection = asyncpg.Connection

# Per user an account, a limit on its purchases, told by e-mail, and four purchases of the past.
_ALERTS = (
    """
INSERT INTO people (partner_id, user_id, time_zone, currency, locale, content_hash, as_of, version)
SELECT 1, n, 'America/Chicago', 'USD', 'en-US', '', $1, 1 FROM generate_series(1, $2::bigint) n
""",
    """
INSERT INTO accounts (partner_id, id, user_id, name, balance, currency, as_of, version, received_at)
SELECT 1, n, n, 'Checking', 1000, 'USD', $1, 1, $1 FROM generate_series(1, $2::bigint) n
""",
    """
INSERT INTO alerts (partner_id, user_id, kind, name, amount, currency, direction,
                    condition_version, condition_changed_at, channels, critical, active, armed, seen_version,
                    trigger_count, sweeps_before, fact_version_before, created_at, updated_at)
SELECT 1, n, 'transaction_limit', 'Large', 500, 'USD', 'any', 1, $1, '{email}', %s, true, true, 0, 0, 0, 0, $1, $1
  FROM generate_series(1, $2::bigint) n
""",
    """
INSERT INTO transactions (partner_id, id, user_id, account_id, purchase_id, purchase_on, amount, currency, merchant,
                          merchant_norm, description, category, posted_on, posted_at, backfill, status, is_estimate,
                          as_of, version, received_at)
SELECT 1, 1000000000 + n, (n - 1) % $2::bigint + 1, (n - 1) % $2::bigint + 1, 1000000000 + n, day, -12, 'USD', 'Diner',
       'diner', '', 'food', day, day + time '12:00', true, 'posted', false, $1, 1, $1
  FROM generate_series(1, $2::bigint * 4) n, date_trunc('day', $1::timestamptz - n % 60 * interval '1 day') day
""",
)
# Of e-mails that left: from the firing to its notification, and from there to its first attempt, in milliseconds.
_PARTS = """
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM n.created_at - n.fired_at)) * 1000,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM a.started_at - n.created_at)) * 1000
  FROM notifications n
  JOIN deliveries d ON d.partner_id = n.partner_id AND d.notification_id = n.id AND d.channel = 'email'
  JOIN attempts a ON a.partner_id = d.partner_id AND a.delivery_id = d.id AND a.number = 1
 WHERE n.kind = 'transaction_limit'
"""


@dataclass(frozen=True)
class _Chain:
    """Both services' places, and the provider."""

    evaluator: Rig
    dispatcher: Rig
    provider: Provider
    database: Connection
    """The dispatcher's."""


async def measure(console: Console, scale: float) -> list[Measure]:
    """Alone first, then behind the backlog, on new databases."""
    facts = int(RATE * SECONDS * min(scale * 4, 1.0))
    async with _chain(facts + _WARM_UP, critical=False) as chain:
        console.print(f"fact to provider: {facts:,} at {RATE}/s")
        alone, used = await _led(chain, facts, RATE)
        floors = await _bare(chain.provider, min(facts, 1_000))
        commits = await _commits(chain.database, min(facts, 300))
        [(taken_in, left)] = await chain.database.fetch(_PARTS)
    criticals, backlog = int(CRITICAL_RATE * CRITICAL_SECONDS * min(scale * 4, 1.0)), int(BACKLOG * scale)
    async with _chain(criticals + _WARM_UP, critical=True) as chain:
        console.print(f"critical: {criticals:,} at {CRITICAL_RATE}/s behind {backlog:,} e-mails")
        # people of their own, so that the critical ones' users have none of it
        behind, drained = await _behind(chain, criticals, backlog)
    return [
        *[Measure(budget.key, _percentile(alone, percent), budget) for percent, budget in WAYS],
        *[
            Measure(
                f"fact_to_provider_floor_p{percent}_ms", _percentile(floors, percent), what=f"a bare POST, {RATE}/s"
            )
            for percent, _ in WAYS
        ],
        Measure("fact_to_firing_taken_in_p50_ms", taken_in, what="of it from the firing to the start of its intake"),
        Measure("firing_to_attempt_p50_ms", left, what="of it from there to the start of the call"),
        Measure("commit_floor_p50_ms", _percentile(commits, 50), what="a bare commit of one row; the way has several"),
        Measure("commit_floor_p95_ms", _percentile(commits, 95), what="the same, 95 of 100"),
        *used.measures("fact_to_provider", facts / RATE),
        Measure(BEHIND.key, _percentile(behind, 95), BEHIND),
        Measure("critical_behind_backlog_p50_ms", _percentile(behind, 50), what="the same, half of them"),
        Measure("backlog_per_s", drained, what="e-mails of the backlog sent meanwhile, a second"),
    ]


@asynccontextmanager
async def _chain(users: int, *, critical: bool) -> AsyncIterator[_Chain]:
    now = datetime.now(UTC)  # noqa: TID251 - the bench lives in real time
    async with rig("evaluator") as evaluator, evaluator.database() as alerts, providing(evaluator) as provider:
        for statement in _ALERTS:
            await alerts.execute(statement.replace("%s", str(critical).lower()), now, users)
        await settle(alerts)
        dispatcher = await evaluator.beside("dispatcher")
        async with dispatcher.database() as database:
            yield _Chain(evaluator, dispatcher, provider, database)


@asynccontextmanager
async def _serving(chain: _Chain) -> "AsyncIterator[tuple[fact_pb2_grpc.FactServiceAsyncStub, dict[str, int]]]":
    """Both services up: a stub of the evaluator's facts, and the processes by name."""
    told = {"SENDGRID_BASE_URL": chain.provider.url, "TOCSIN_EVALUATOR_TARGET": chain.evaluator.target}
    with chain.evaluator.serving() as evaluator, chain.dispatcher.serving(**told) as dispatcher:
        pids = {
            "evaluator": evaluator.pid,
            "dispatcher": dispatcher.pid,
            "postgres": chain.evaluator.postgres.pid or 0,
        }
        async with grpc.aio.insecure_channel(chain.evaluator.target) as channel:
            yield fact_pb2_grpc.FactServiceStub(channel), pids


async def _led(chain: _Chain, facts: int, per_s: float) -> tuple[list[float], Used]:
    """Milliseconds of each, and what the processes had of the CPU."""
    await fill_people(chain.database, facts + _WARM_UP)
    await fill_sent(chain.database, _SENT, facts)
    await settle(chain.database)
    async with _serving(chain) as (stub, pids):
        await _ways(chain, stub, 1, _WARM_UP, per_s)
        with watching(**pids) as used:
            took = await _ways(chain, stub, _WARM_UP + 1, facts, per_s)
    return took, used


async def _behind(chain: _Chain, criticals: int, backlog: int) -> tuple[list[float], float]:
    """Milliseconds of each critical one, and e-mails of the backlog that left meanwhile, a second."""
    users = criticals + _WARM_UP
    await fill_people(chain.database, users + backlog // _OF_ONE)
    await fill_pending(chain.database, backlog, backlog // _OF_ONE, "email", after=users, ahead=_AHEAD)
    await settle(chain.database)
    clock = asyncio.get_running_loop().time
    async with _serving(chain) as (stub, _):
        await _ways(chain, stub, 1, min(_WARM_UP, criticals), CRITICAL_RATE)
        known, started = len(await chain.provider.calls()), clock()
        took = await _ways(chain, stub, _WARM_UP + 1, criticals, CRITICAL_RATE)
        sent, ended = len(await chain.provider.calls()), clock()
        waits, aside = await _left_behind(chain.database)
        if aside or not waits:
            raise RuntimeError(f"{waits} of the backlog wait and {aside} were set aside: there is nothing to measure")
    return took, (sent - known - criticals) / (ended - started)


async def _left_behind(database: Connection) -> tuple[int, int]:
    """Of the backlog, how many e-mails wait and how many will not leave."""
    [(waits, aside)] = await database.fetch("""
SELECT count(*) FILTER (WHERE status = 'pending'), count(*) FILTER (WHERE status IN ('held', 'suppressed', 'merged'))
  FROM deliveries WHERE class = 'periodic' AND channel = 'email'
""")
    return waits, aside


async def _ways(
    chain: _Chain, stub: "fact_pb2_grpc.FactServiceAsyncStub", first_user: int, facts: int, per_s: float
) -> list[float]:
    """Milliseconds from posting each user's purchase to the provider's being called for that user."""

    async def post(number: int) -> None:
        await stub.PostTransactions(
            _purchase(first_user + number - 1), metadata=(chain.evaluator.token(),), timeout=30, wait_for_ready=True
        )

    posted = await at_pace(per_s, facts, post)
    begun = {f"u{first_user + number - 1}@bench.example": when for number, when in posted.items()}
    calls = await chain.provider.until(lambda made: begun.keys() <= {who for who, _ in made})
    called: dict[str, float] = {}
    for who, when in calls:
        called.setdefault(who, when)
    return [(called[who] - when) * 1000 for who, when in begun.items()]


def _purchase(user: int) -> fact_pb2.PostTransactionsRequest:
    request = fact_pb2.PostTransactionsRequest()
    one = request.transactions.add(
        id=user,
        user_id=user,
        account_id=user,
        amount="-900.00",
        currency="USD",
        merchant=f"Corner Market {user % 1000}",
        category="groceries",
    )
    one.posted_at.GetCurrentTime()
    return request


async def _bare(provider: Provider, calls: int) -> list[float]:
    """Milliseconds that a bare call at the same pace takes to come in; with its answer it took 50 more."""
    clock = asyncio.get_running_loop().time
    took: list[float] = []

    async def post(_number: int) -> None:
        started = clock()
        await provider.post("floor@bench.example")
        took.append((clock() - started - ANSWERS_AFTER) * 1000)

    await at_pace(RATE, calls, post)
    return took


async def _commits(database: Connection, commits: int) -> list[float]:
    """Milliseconds that a durable commit of one row takes."""
    await database.execute("CREATE TABLE bench_commits (n bigint)")
    clock = asyncio.get_running_loop().time
    took = []
    for number in range(commits):
        started = clock()
        await database.execute("INSERT INTO bench_commits VALUES ($1)", number)
        took.append((clock() - started) * 1000)
    return took


def _percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]
