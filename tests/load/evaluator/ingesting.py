"""Transactions by gRPC: rate in batches, single calls beside a bare echo, one lone caller, the way to the broker."""

import asyncio
import statistics
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

import asyncpg
import grpc
from nats.aio.client import Client
from rich.console import Console

from tests.load.evaluator.echo import METHOD
from tests.load.measures import Budget, Measure
from tests.load.rig import Rig, child, rig
from tocsin.alerts.v1 import fact_pb2
from tocsin.events.v1 import events_pb2
from tocsin_devstack.nats import free_port

BATCHES = Budget("ingest_batch_per_s", 8_000, True, "transactions/s, batches of 100, 8 callers, 4 % firing")
SINGLES = Budget("ingest_single_ratio", 0.4, True, "single calls of 32 callers over a bare gRPC echo")
LONE = Budget("ingest_lone_p50_ms", 6, False, "one caller, one transaction at a time")
TO_FIRING = Budget("fact_to_firing_p95_ms", 50, False, "post to firing on the broker, 100 transactions/s")

ALERTS = 500_000
SECONDS = 8.0
CALLERS, SINGLE_CALLERS = 8, 32
RATE = 100
#: One transaction in so many is above its owner's limit.
_LARGE_EVERY = 25
_POST = "/tocsin.alerts.v1.FactService/PostTransactions"

Call = Callable[[bytes], Awaitable[bytes]]

# Per user an account, a derived grocery budget, a limit of 500, a merchant alert that matches nobody, and two purchases
# of the past: a bank that has run for a day has more.
_FILL = (
    """
INSERT INTO people (partner_id, user_id, time_zone, currency, locale, content_hash, as_of, version)
SELECT 1, n, 'America/Chicago', 'USD', 'en-US', '', $1, 1 FROM generate_series(1, $2::bigint) n
""",
    """
INSERT INTO accounts (partner_id, id, user_id, name, balance, currency, as_of, version, received_at)
SELECT 1, n, n, 'Checking', 1000, 'USD', $1, 1, $1 FROM generate_series(1, $2::bigint) n
""",
    """
INSERT INTO budgets (partner_id, id, user_id, name, category, currency, amount, period, spent_source, spent,
                     spent_from, spent_until, as_of, version, received_at)
SELECT 1, n, n, 'Groceries', 'groceries', 'USD', 400, 'monthly', 'derived', 0,
       date_trunc('month', $1::timestamptz)::date,
       (date_trunc('month', $1::timestamptz) + interval '1 month')::date, $1, 1, $1
  FROM generate_series(1, $2::bigint) n
""",
    """
INSERT INTO alerts (partner_id, user_id, kind, name, amount, currency, direction,
                    condition_version, condition_changed_at, channels, critical, active, armed, seen_version,
                    trigger_count, sweeps_before, fact_version_before, created_at, updated_at)
SELECT 1, n, 'transaction_limit', 'Large', 500, 'USD', 'any', 1, $1, '{email}', true, true, true, 0, 0, 0, 0, $1, $1
  FROM generate_series(1, $2::bigint) n
""",
    """
INSERT INTO alerts (partner_id, user_id, kind, name, pattern, pattern_norm, match_type, frequency,
                    condition_version, condition_changed_at, channels, critical, active, armed, seen_version,
                    trigger_count, sweeps_before, fact_version_before, created_at, updated_at)
SELECT 1, n, 'merchant_name', 'Nobody', 'nobody', 'nobody', 'contains', 'immediate',
       1, $1, '{email}', false, true, true, 0, 0, 0, 0, $1, $1
  FROM generate_series(1, $2::bigint) n
""",
    """
INSERT INTO transactions (partner_id, id, user_id, account_id, purchase_id, purchase_on, amount, currency, merchant,
                          merchant_norm, description, category, posted_on, posted_at, backfill, status, is_estimate,
                          as_of, version, received_at)
SELECT 1, 1000000000 + n, (n - 1) % $2::bigint + 1, (n - 1) % $2::bigint + 1, 1000000000 + n, day, -12, 'USD', 'Diner',
       'diner', '', 'food', day, day + time '12:00', true, 'posted', false, $1, 1, $1
  FROM generate_series(1, $2::bigint * 2) n, date_trunc('day', $1::timestamptz - n % 60 * interval '1 day') day
""",
)


@dataclass
class Purchases:
    """Makes requests of new transactions, each of the next user in turn, ready to be sent."""

    users: int
    ids: "count[int]" = field(default_factory=lambda: count(1))

    def request(self, size: int, *, large: bool | None = None) -> bytes:
        """A serialised request of `size` transactions; `large` None: one in 25 is."""
        request = fact_pb2.PostTransactionsRequest()
        for id_ in (next(self.ids) for _ in range(size)):
            user = id_ * 7919 % self.users + 1  # a prime: neighbours in a batch are strangers
            above = id_ % _LARGE_EVERY == 0 if large is None else large
            one = request.transactions.add(
                id=id_,
                user_id=user,
                account_id=user,
                amount="-900.00" if above else f"-{id_ % 90 + 1}.25",
                currency="USD",
                merchant=f"Corner Market {id_ % 1000}",
                category="groceries",
            )
            one.posted_at.GetCurrentTime()
        return request.SerializeToString()


async def measure(console: Console, scale: float) -> list[Measure]:
    """All of it, against one evaluator process."""
    async with rig("evaluator") as servers, servers.database() as database, servers.broker() as broker:
        users = int(ALERTS * scale) // 2
        console.print(f"ingest: {users * 2:,} alerts of {users:,} users")
        now = datetime.now(UTC)  # noqa: TID251 - the bench lives in real time
        for statement in _FILL:
            await database.execute(statement, now, users)
        await database.execute("VACUUM ANALYZE")
        purchases = Purchases(users)
        seconds = SECONDS * min(scale * 4, 1.0)
        with servers.serving(), _echoing(servers) as echo_target:
            async with (
                _calling(servers.target, _POST, servers.token()) as post,
                _calling(echo_target, METHOD, servers.token()) as echo,
            ):
                console.print("ingest: batches")
                sizes = {size: await _rate(post, purchases, size, CALLERS, seconds) for size in (1, 10, 1000, 100)}
                await _published(database, broker)
                console.print("ingest: single calls beside an echo")
                single, echoed = await _beside_echo(echo, post, purchases, seconds)
                console.print("ingest: one caller")
                lone = await _lone(post, purchases, int(300 * min(scale * 4, 1.0)))
                await _published(database, broker)
                console.print(f"ingest: {RATE} transactions/s, each firing")
                ways = await _to_firing(post, purchases, broker, seconds)
    return [
        Measure(BATCHES.key, sizes[100], BATCHES),
        *[Measure(f"ingest_by_{size}_per_s", sizes[size], what=f"the same in batches of {size}") for size in sizes],
        Measure("ingest_single_per_s", single, what="single calls of 32 callers"),
        Measure("ingest_single_floor_per_s", echoed, what="a bare gRPC echo, in turns with them"),
        Measure(SINGLES.key, single / echoed, SINGLES),
        Measure(LONE.key, statistics.median(lone), LONE),
        Measure(TO_FIRING.key, statistics.quantiles(ways, n=100)[94], TO_FIRING),
    ]


@asynccontextmanager
async def _calling(target: str, method: str, token: tuple[str, str]) -> AsyncIterator[Call]:
    """Calls with requests that are serialised already and answers that are not looked into, but for errors."""
    async with grpc.aio.insecure_channel(target) as channel:
        stub: Any = channel.unary_unary(method, request_serializer=None, response_deserializer=None)

        async def call(request: bytes) -> bytes:
            answer: bytes = await stub(request, timeout=30, metadata=(token,), wait_for_ready=True)
            return answer

        yield call


async def _rate(call: Call, purchases: Purchases, size: int, callers: int, seconds: float) -> float:
    """Transactions a second. Every answer must accept all; requests are made before the clock starts."""
    clock = asyncio.get_running_loop().time
    prepared = [purchases.request(size) for _ in range(callers)]
    done = 0
    ends = clock() + seconds

    async def caller(request: bytes) -> None:
        nonlocal done
        while clock() < ends:
            answer = await call(request)
            accepted = fact_pb2.PostTransactionsResponse.FromString(answer).accepted
            if accepted != size:
                raise RuntimeError(f"{size - accepted} of {size} transactions were refused")
            done += size
            request = purchases.request(size)

    started = clock()
    await asyncio.gather(*(caller(request) for request in prepared))
    return done / (clock() - started)


@contextmanager
def _echoing(servers: Rig) -> Iterator[str]:
    """The address of an echo server in a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "tests.load.evaluator.echo", str(port)]
    with child(command, servers.folder / "echo.log", {"PYTHONPATH": "."}):
        yield f"127.0.0.1:{port}"


async def _beside_echo(echo: Call, post: Call, purchases: Purchases, seconds: float) -> tuple[float, float]:
    """(calls a second to the evaluator, to an echo), measured in turns and the medians taken."""
    pairs = [
        (await _rate(post, purchases, 1, SINGLE_CALLERS, seconds / 3), await _echoed(echo, purchases, seconds / 3))
        for _ in range(3)
    ]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


async def _echoed(echo: Call, purchases: Purchases, seconds: float) -> float:
    clock = asyncio.get_running_loop().time
    done = 0
    ends = clock() + seconds

    async def caller() -> None:
        nonlocal done
        while clock() < ends:
            request = purchases.request(1)
            if fact_pb2.PostTransactionsRequest.FromString(await echo(request)).ByteSize() != len(request):
                raise RuntimeError("the echo answered something else")
            done += 1

    await echo(purchases.request(1))
    started = clock()
    await asyncio.gather(*(caller() for _ in range(SINGLE_CALLERS)))
    return done / (clock() - started)


async def _lone(post: Call, purchases: Purchases, calls: int) -> list[float]:
    """Milliseconds of each call of one caller."""
    clock = asyncio.get_running_loop().time
    took = []
    for _ in range(calls):
        request = purchases.request(1)
        started = clock()
        await post(request)
        took.append((clock() - started) * 1000)
    return took


async def _to_firing(post: Call, purchases: Purchases, broker: Client, seconds: float) -> list[float]:
    """Milliseconds from posting to the firing's arrival from the broker, at RATE transactions a second."""
    stream = broker.jetstream()
    await stream.purge_stream("FIRINGS")
    arrivals = await stream.pull_subscribe_bind("dispatcher-realtime", "FIRINGS")
    clock = asyncio.get_running_loop().time
    posted: dict[int, float] = {}
    took: list[float] = []
    wanted = int(RATE * seconds)

    async def hear() -> None:
        while len(took) < wanted:
            for message in await arrivals.fetch(1, timeout=30):
                firing = events_pb2.Firing.FromString(message.data)
                took.append((clock() - posted[firing.context.transaction_limit.transaction_id]) * 1000)
                await message.ack()

    hearing = asyncio.create_task(hear())
    started = clock()
    async with asyncio.TaskGroup() as calls:
        for number in range(wanted):
            await _until(started + number / RATE)
            request = purchases.request(1, large=True)
            posted[fact_pb2.PostTransactionsRequest.FromString(request).transactions[0].id] = clock()
            calls.create_task(_post(post, request))
    await hearing
    return took


async def _post(post: Call, request: bytes) -> None:
    await post(request)


async def _until(instant: float) -> None:
    """Wait in real time: a bench sets its own pace."""
    left = instant - asyncio.get_running_loop().time()
    if left > 0:
        await asyncio.sleep(left)  # noqa: TID251


async def _published(database: "asyncpg.Connection[asyncpg.Record]", broker: Client) -> None:
    """Return when the relays are not behind: what follows is measured alone."""
    async with asyncio.timeout(120):
        while await database.fetchval("SELECT EXISTS (SELECT FROM outbox)"):
            await broker.jetstream().purge_stream("FIRINGS")
    await broker.jetstream().purge_stream("FIRINGS")
