"""What is pending leaves: 20,000 e-mails by one process, and webhooks to 100 endpoints of which one hangs."""

import asyncio
import statistics
from collections import Counter
from collections.abc import Sequence

import asyncpg
import grpc
from rich.console import Console

from tests.load.dispatcher.driving import (
    Provider,
    all_sent,
    fill_pending,
    fill_people,
    providing,
    settle,
    watching,
)
from tests.load.dispatcher.provider import HANGING, Call
from tests.load.measures import Budget, Measure
from tests.load.rig import Rig, rig
from tocsin.notifications.v1 import preference_pb2, preference_pb2_grpc

DRAIN = Budget("drain_per_s", 1_200, True, "pending e-mails sent and recorded a second, one dispatcher process")
SLOWDOWN = Budget("dead_endpoint_slowdown", 1.1, False, "webhooks to 99 endpoints beside one that hangs, over without")

EMAILS = 20_000
ENDPOINTS = 100
WEBHOOKS = 10_000
PAIRS = 3
#: What a channel's worker has in hand of a class that is not realtime, by default: the floor's callers.
CALLERS = 300

Connection = asyncpg.Connection


async def measure(console: Console, scale: float) -> list[Measure]:
    """E-mails first, then webhooks, on one database."""
    async with rig("dispatcher") as servers, servers.database() as database, providing(servers) as provider:
        emails = int(EMAILS * scale)
        console.print(f"drain: {emails:,} pending e-mails")
        drained = await _emails(servers, database, provider, emails)
        console.print(f"drain: webhooks to {ENDPOINTS} endpoints, with and without one that hangs")
        return drained + await _webhooks(servers, database, int(WEBHOOKS * scale))


async def _emails(servers: Rig, database: Connection, provider: Provider, emails: int) -> list[Measure]:
    before = await _bare(provider, emails)
    await fill_people(database, emails)
    await fill_pending(database, emails, emails, "email")
    await settle(database)
    known = len(await provider.calls())
    clock = asyncio.get_running_loop().time
    with servers.serving(SENDGRID_BASE_URL=provider.url) as process:
        pids = {"dispatcher": process.pid, "postgres": servers.postgres.pid or 0, "provider": provider.pid}
        with watching(**pids) as used:
            await provider.until(lambda calls: len(calls) > known)
            await all_sent(database, "email")
        ended = clock()
    calls = await provider.calls(known)
    _each_once(calls, emails)
    seconds = ended - calls[0][1]
    floor = statistics.mean((before, await _bare(provider, emails)))
    return [
        Measure(DRAIN.key, emails / seconds, DRAIN),
        Measure("drain_floor_per_s", floor, what=f"bare POSTs by aiohttp, {CALLERS} callers, before and after"),
        Measure("drain_ratio", emails / seconds / floor, what="drained over bare POSTs"),
        Measure(
            "drain_per_cpu_s", emails / used.ran["dispatcher"], what="drained a second of the dispatcher's own CPU"
        ),
        *used.measures("drain", seconds),
    ]


async def _bare(provider: Provider, calls: int) -> float:
    """Bare calls a second."""
    clock = asyncio.get_running_loop().time
    left = iter(range(calls))

    async def caller() -> None:
        for _ in left:
            await provider.post("floor@bench.example")

    started = clock()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return calls / (clock() - started)


def _each_once(calls: Sequence[Call], wanted: int) -> None:
    counted = Counter(who for who, _ in calls)
    if len(counted) != wanted or len(calls) != wanted:
        raise RuntimeError(f"{len(calls)} calls for {len(counted)} of {wanted} messages")


async def _webhooks(servers: Rig, database: Connection, webhooks: int) -> list[Measure]:
    """In pairs, so that whatever else the machine does meets both alike."""
    async with providing(servers) as provider:
        told = {"TOCSIN_LOCAL_ENDPOINTS": provider.url.removeprefix("http://")}
        with servers.serving(**told):
            await _add_endpoints(servers, provider)
        pairs = []
        for number in range(PAIRS):
            order = (False, True) if number % 2 else (True, False)
            took = {hangs: await _drain_others(servers, database, provider, webhooks, hangs) for hangs in order}
            pairs.append((took[True], took[False]))
    others = webhooks * (ENDPOINTS - 1) / ENDPOINTS
    beside, alone = (statistics.median(column) for column in zip(*pairs, strict=True))
    return [
        Measure(SLOWDOWN.key, statistics.median(hung / free for hung, free in pairs), SLOWDOWN),
        Measure("webhooks_per_s", others / alone, what="webhooks to all but one endpoint, none hangs"),
        Measure("webhooks_beside_dead_per_s", others / beside, what="the same while that one hangs"),
    ]


async def _add_endpoints(servers: Rig, provider: Provider) -> None:
    """One of each user, as its owner adds it."""
    async with grpc.aio.insecure_channel(servers.target) as channel:
        stub = preference_pb2_grpc.PreferenceServiceStub(channel)
        for user in range(1, ENDPOINTS + 1):
            wanted = preference_pb2.WebhookEndpoint(url=f"{provider.url}/hook/{user}", name="bench")
            await stub.CreateWebhookEndpoint(
                preference_pb2.CreateWebhookEndpointRequest(webhook_endpoint=wanted, request_id=str(user)),
                metadata=(servers.user_token(user),),
                timeout=30,
            )


async def _drain_others(servers: Rig, database: Connection, provider: Provider, webhooks: int, hangs: bool) -> float:
    """Seconds from the first call to the last one at an endpoint other than the first."""
    await database.execute("TRUNCATE deliveries, notifications, attempts, breakers, outbox CASCADE")
    path = HANGING if hangs else "/hook/1"
    await database.execute("UPDATE webhook_endpoints SET url = $1 WHERE user_id = 1", provider.url + path)
    await fill_pending(database, webhooks, ENDPOINTS, "webhook")
    await settle(database)
    known = len(await provider.calls())
    wanted = webhooks - webhooks // ENDPOINTS

    def others(calls: Sequence[Call]) -> list[float]:
        return [when for who, when in calls[known:] if who not in (HANGING, "/hook/1")]

    with servers.serving(TOCSIN_LOCAL_ENDPOINTS=provider.url.removeprefix("http://")):
        calls = await provider.until(lambda made: len(others(made)) >= wanted)
    if hangs and not any(who == HANGING for who, _ in calls[known:]):
        raise RuntimeError("the endpoint that hangs was not called: there is nothing to measure")
    return max(others(calls)) - min(others(calls))
