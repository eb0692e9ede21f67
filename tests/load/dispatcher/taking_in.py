"""Firings from the broker become notifications and planned deliveries: of as many users, and 1,000 of one user."""

import asyncio
import signal
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from subprocess import Popen

from nats.aio.client import Client
from rich.console import Console

from tests.firings import low_balance
from tests.load.dispatcher.driving import PATIENCE, a_moment, fill_pending, fill_people, fill_sent, settle, watching
from tests.load.measures import Budget, Measure
from tests.load.rig import Rig, rig

INTAKE = Budget("intake_per_s", 3_000, True, "firings a second into planned deliveries, each of another user")
ONE_USER = Budget("intake_one_user_per_s", 3_000, True, "the same, 1,000 of one user")

FIRINGS = 20_000
OF_ONE_USER = 1_000
RUNS = 3
_WARM_UP = 2_000
_BATCH = 100
_DURABLE = "dispatcher-periodic"
_AT_ONCE = 500
_LOOK_EVERY = 0.01


async def measure(console: Console, scale: float) -> list[Measure]:
    """Against one dispatcher process, beside bare inserts into the same tables."""
    many = int(FIRINGS * scale)
    async with rig("dispatcher") as servers, servers.database() as database, servers.broker() as broker:
        await fill_people(database, many)
        await fill_sent(database, many, many)
        await settle(database)
        console.print("intake: bare inserts")
        before = await _bare(servers, many)
        with servers.serving() as process:
            await _take_in(process, broker, int(_WARM_UP * scale), many)
            console.print(f"intake: {many:,} firings")
            with watching(dispatcher=process.pid, postgres=servers.postgres.pid or 0) as used:
                taken = await _take_in(process, broker, many, many)
            console.print("intake: of one user")
            one_s = int(OF_ONE_USER * min(scale * 4, 1.0))
            of_one = [await _take_in(process, broker, one_s, 1) for _ in range(RUNS)]
        floor = statistics.mean((before, await _bare(servers, many)))
    return [
        Measure(INTAKE.key, taken, INTAKE),
        Measure(ONE_USER.key, statistics.median(of_one), ONE_USER),
        Measure("intake_floor_per_s", floor, what=f"bare inserts of a notification and a delivery, {_BATCH} a commit"),
        Measure("intake_ratio", taken / floor, what="taken in over bare inserts"),
        Measure("intake_per_cpu_s", many / used.ran["dispatcher"], what="taken in a second of the dispatcher's CPU"),
        *used.measures("intake", many / taken),
    ]


async def _bare(servers: Rig, rows: int) -> float:
    """Notifications a second, each with a delivery, by one connection; they are in-app ones, which nobody works on."""
    async with servers.database() as database:
        await fill_pending(database, _BATCH, rows, "in_app")
        clock = asyncio.get_running_loop().time
        started = clock()
        for _ in range(rows // _BATCH):
            await fill_pending(database, _BATCH, rows, "in_app")
        return rows // _BATCH * _BATCH / (clock() - started)


async def _take_in(process: "Popen[bytes]", broker: Client, firings: int, users: int) -> float:
    """Firings a second, from when they may be taken to when all are acknowledged.

    They lie in the stream before: publishing them is not what is measured. They know of a newer profile than the
    dispatcher, so their e-mails are planned and wait: what sending costs is not measured here either.
    """
    stream, now = broker.jetstream(), datetime.now(UTC)  # noqa: TID251 - the bench lives in real time
    with _stopped(process):
        for first in range(0, firings, _AT_ONCE):
            numbers = range(first, min(first + _AT_ONCE, firings))
            await asyncio.gather(
                *(stream.publish("tocsin.firings.periodic", low_balance(number % users + 1, now)) for number in numbers)
            )
    clock = asyncio.get_running_loop().time
    started = clock()
    async with asyncio.timeout(PATIENCE):
        while (state := await stream.consumer_info("FIRINGS", _DURABLE)).num_pending or state.num_ack_pending:
            await a_moment(_LOOK_EVERY)
    return firings / (clock() - started)


@contextmanager
def _stopped(process: "Popen[bytes]") -> Iterator[None]:
    """The process stands still within the block: NATS's own pause of a consumer ends for it with its next pull only."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)
