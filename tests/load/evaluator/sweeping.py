"""Sweeps over account thresholds: time against the bare condition, memory, firings a second, cost per alert."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid1

import asyncpg
from nats.aio.client import Client
from rich.console import Console

from tests.load.measures import Budget, Measure
from tests.load.rig import Rig, peak_memory, rig
from tocsin.events.v1 import events_pb2
from tocsin.types.v1 import types_pb2

RATIO = Budget("sweep_ratio", 2.0, False, "sweep of 1,000,000 alerts, 0.5 % firing, over the bare condition")
MEMORY = Budget("sweep_rss_mb", 300, False, "the evaluator's peak memory in it, MiB")
FIRINGS = Budget("firings_per_s", 10_000, True, "the same sweep with 30 % true")
SIZES = (10_000, 100_000, 1_000_000)
RUNS = 3
_LIMIT = 600.0

Connection = asyncpg.Connection

# One user, account and alert a number; a share of the balances is below the threshold, spread over the ids.
_FILL = (
    """
INSERT INTO people (partner_id, user_id, time_zone, currency, locale, content_hash, as_of, version)
SELECT 1, n, 'America/Chicago', 'USD', 'en-US', '', $2, 1 FROM generate_series($1::bigint, $3::bigint) n
""",
    """
INSERT INTO accounts (partner_id, id, user_id, name, balance, currency, as_of, version, received_at)
SELECT 1, n, n, 'Checking', CASE WHEN n % 200 = 0 THEN 100 ELSE 1000 END, 'USD', $2, 1, $2
  FROM generate_series($1::bigint, $3::bigint) n
""",
    """
INSERT INTO alerts (partner_id, user_id, kind, name, subject_id, amount, currency, direction, repeat,
                    condition_version, condition_changed_at, channels, critical, cooldown, active, armed, seen_version,
                    trigger_count, sweeps_before, fact_version_before, created_at, updated_at)
SELECT 1, n, 'account_threshold', 'Balance is low', n, 500, 'USD', 'below', 'while_true',
       1, $2, '{email}', false, interval '6 hours', true, true, 0, 0, 0, 0, $2, $2
  FROM generate_series($1::bigint, $3::bigint) n
""",
)
# The whole condition and nothing else, as a sweep has to ask it: what no sweep can be faster than.
_BARE = """
SELECT count(*)
  FROM alerts a
  JOIN accounts f ON f.partner_id = a.partner_id AND f.user_id = a.user_id AND f.id = a.subject_id
 WHERE a.active AND a.deleted_at IS NULL AND a.kind = 'account_threshold'
   AND f.closed_at IS NULL
   AND (a.direction = 'below' AND f.balance < a.amount OR a.direction = 'above' AND f.balance > a.amount)
   AND f.currency = a.currency AND f.as_of >= $1::timestamptz - interval '48 hours'
   AND NOT coalesce(a.snoozed_until > $1, false)
   AND NOT (a.repeat = 'while_true' AND coalesce(a.quiet_until > $1, false))
   AND NOT (a.repeat = 'on_crossing' AND NOT (a.armed AND f.version > a.seen_version))
"""


async def measure(console: Console, scale: float) -> list[Measure]:
    """All of it, on one database that grows."""
    async with rig("evaluator") as servers, servers.database() as database, servers.broker() as broker:
        costs: list[Measure] = []
        filled = 0
        seconds = bare = 0.0
        with servers.serving() as process:
            for size in SIZES:
                wanted = int(size * scale)
                console.print(f"sweep: {wanted:,} alerts")
                await _fill(database, filled + 1, wanted)
                filled = wanted
                runs = [await _compared(servers, database, broker) for _ in range(RUNS)]
                seconds, bare = sorted(runs)[RUNS // 2]
                costs.append(
                    Measure(f"sweep_us_per_alert_{size}", seconds / wanted * 1e6, what="microseconds an alert")
                )
            memory = peak_memory(process)
            console.print("sweep: 30 % true")
            await database.execute("UPDATE accounts SET balance = CASE WHEN id % 10 < 3 THEN 100 ELSE 1000 END")
            await database.execute("VACUUM ANALYZE accounts")
            await _forget(database, broker)
            busy, fired = await _sweep(broker)
        return [
            Measure("sweep_s", seconds, what="the sweep of all alerts"),
            Measure("sweep_floor_s", bare, what="the bare condition in the same run"),
            Measure(RATIO.key, seconds / bare, RATIO),
            Measure(MEMORY.key, memory, MEMORY),
            Measure(FIRINGS.key, fired / busy, FIRINGS),
            *costs,
        ]


async def _fill(database: Connection, first: int, last: int) -> None:
    now = datetime.now(UTC)  # noqa: TID251 - the bench lives in real time
    for statement in _FILL:
        await database.execute(statement, first, now, last)
    for table in ("people", "accounts", "alerts"):
        await database.execute(f"VACUUM ANALYZE {table}")
    await database.execute("CHECKPOINT")


async def _compared(servers: Rig, database: Connection, broker: Client) -> tuple[float, float]:
    """(sweep, bare condition) in seconds, one after the other on the same state."""
    await _forget(database, broker)
    clock = asyncio.get_running_loop().time
    started = clock()
    await database.fetchval(_BARE, datetime.now(UTC))  # noqa: TID251
    bare = clock() - started
    seconds, fired = await _sweep(broker)
    if not fired:
        raise RuntimeError("the sweep fired nothing: there is nothing to measure")
    return seconds, bare


async def _forget(database: Connection, broker: Client) -> None:
    """Every alert may fire again, and nobody is behind with publishing."""
    async with asyncio.timeout(_LIMIT):
        while await database.fetchval("SELECT EXISTS (SELECT FROM outbox)"):
            await broker.jetstream().purge_stream("FIRINGS")
    await database.execute("UPDATE alerts SET quiet_until = NULL WHERE quiet_until IS NOT NULL")
    await database.execute("TRUNCATE firings, occurrences")
    await database.execute("VACUUM alerts")


async def _sweep(broker: Client) -> tuple[float, int]:
    """Order a sweep as the scheduler does, and wait for its end: (seconds, firings)."""
    stream = broker.jetstream()
    await stream.purge_stream("JOB_EVENTS")
    job = events_pb2.Job(
        id=uuid1().bytes, type="evaluate.periodic", work_class=types_pb2.WORK_CLASS_PERIODIC, attempt=1
    )
    job.due_at.GetCurrentTime()
    events = await stream.pull_subscribe_bind("scheduler-events", "JOB_EVENTS")
    clock = asyncio.get_running_loop().time
    started = clock()
    await stream.publish("tocsin.jobs.evaluate.periodic", job.SerializeToString())
    async with asyncio.timeout(_LIMIT):
        while True:
            for message in await events.fetch(1, timeout=_LIMIT):
                event = events_pb2.JobEvent.FromString(message.data)
                await message.ack()
                if event.WhichOneof("event") == "failed":
                    raise RuntimeError(f"the sweep failed: {event.failed.reason}")
                if event.WhichOneof("event") == "succeeded":
                    return clock() - started, int(event.succeeded.counts["fired"])
