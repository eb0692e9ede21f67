"""From an outbox row to a handled message, over real PostgreSQL and real NATS."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import nats as nats_client
import pytest
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy import MetaData, event, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tocsin_devstack.fixtures import MakeDatabase
from tocsin_kit.activity import Activity
from tocsin_kit.clock import SteppedClock
from tocsin_kit.lifecycle import Part, _Group
from tocsin_kit.messaging.broker import Broker, TopologyRefused
from tocsin_kit.messaging.consumer import Consumer, Message, Verdict
from tocsin_kit.messaging.publisher import Outgoing, Publisher
from tocsin_kit.messaging.streams import apply, compare
from tocsin_kit.postgres.engine import in_transaction
from tocsin_kit.postgres.outbox import Outbox, outbox_table, relays

NOW = datetime(2025, 11, 3, tzinfo=UTC)
LIMIT = timedelta(seconds=20)
TRACER = TracerProvider().get_tracer("test")


@dataclass
class Bench:
    """An outbox, its relays and a consumer that keeps what it sees."""

    engine: AsyncEngine
    outbox: Outbox
    activity: Activity
    seen: list[Message] = field(default_factory=list)
    failing: list[Exception] = field(default_factory=list)

    async def handle(self, messages: Sequence[Message]) -> list[Verdict]:
        if self.failing:
            raise self.failing.pop()
        self.seen.extend(messages)
        return [Verdict.DONE for _ in messages]

    async def write(self, rows: Sequence[Outgoing]) -> None:
        await in_transaction(self.engine, lambda connection: self.outbox.add(connection, rows, NOW))
        self.outbox.wrote_all(rows)

    async def waiting(self) -> int:
        async with self.engine.connect() as connection:
            return int(await connection.scalar(select(func.count()).select_from(self.outbox.table)) or 0)


def firing(number: int, message_id: str | None = None) -> Outgoing:
    return Outgoing("realtime", "tocsin.firings.realtime", message_id or f"m{number}", str(number).encode())


@asynccontextmanager
async def bench(make_database: MakeDatabase, broker_url: str) -> AsyncIterator[Bench]:
    client = await nats_client.connect(broker_url)
    await apply(client.jetstream())
    await client.close()
    url = make_url(await make_database("gateway", migrated=False))
    engine = create_async_engine(url.set(drivername="postgresql+asyncpg"))
    metadata = MetaData()
    table = outbox_table(metadata)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    activity, broker = Activity(), Broker(broker_url, "test")
    outbox = Outbox.on(table, activity, "test")
    made = Bench(engine, outbox, activity)
    publisher = Publisher(broker, TRACER, activity)
    consumer = Consumer(
        broker, "FIRINGS", "dispatcher-realtime", made.handle, tracer=TRACER, activity=activity, batch=40
    )
    parts: list[Part] = [
        broker,
        consumer,
        *relays(engine, outbox, publisher, clock=SteppedClock(NOW), activity=activity),
    ]
    group = _Group(parts, asyncio.get_running_loop().create_future())
    group.start()
    try:
        yield made
    finally:
        await group.stop(timedelta(seconds=5))
        await broker.close()
        await engine.dispose()
        group.failure.cancel()


async def test_every_row_is_handled_once_and_leaves_the_outbox(make_database: MakeDatabase, broker_url: str) -> None:
    async with bench(make_database, broker_url) as made:
        await made.write([firing(number) for number in range(1000)])
        await made.activity.until_quiet(LIMIT)
        assert sorted(int(message.data) for message in made.seen) == list(range(1000))
        assert await made.waiting() == 0


async def test_batches_of_any_size_leave_by_the_same_statements(make_database: MakeDatabase, broker_url: str) -> None:
    """One for each number of rows would be planned as often, and push others out of a connection's prepared ones."""
    run: set[str] = set()
    async with bench(make_database, broker_url) as made:
        event.listen(made.engine.sync_engine, "before_cursor_execute", lambda *said: run.add(said[2]))
        for count in (1, 2, 7):
            await made.write([firing(number, f"{count} {number}") for number in range(count)])
            await made.activity.until_quiet(LIMIT)
        assert await made.waiting() == 0
    for verb in ("INSERT", "DELETE"):
        assert len([sql for sql in run if sql.lstrip().startswith(verb)]) == 1


async def test_messages_leave_in_the_order_they_are_given(make_database: MakeDatabase, broker_url: str) -> None:
    rows = [firing(number * 7919 % 500) for number in range(500)]
    async with bench(make_database, broker_url) as made:
        await in_transaction(made.engine, lambda connection: made.outbox.add(connection, rows, NOW))
        table = made.outbox.table
        async with made.engine.connect() as connection:
            stored = (await connection.execute(select(table).order_by(table.c.id))).all()
        assert [(row.message_id, row.payload, row.traceparent) for row in stored] == [
            (row.message_id, row.payload, None) for row in rows
        ]


async def test_a_batch_with_an_id_the_broker_knows_goes_one_by_one(
    make_database: MakeDatabase, broker_url: str
) -> None:
    async with bench(make_database, broker_url) as made:
        await made.write([firing(1)])
        await made.activity.until_quiet(LIMIT)
        await made.write([firing(2), firing(3, message_id="m1"), firing(4)])
        await made.activity.until_quiet(LIMIT)
        assert [int(message.data) for message in made.seen] == [1, 2, 4]
        assert await made.waiting() == 0


async def test_a_batch_is_handled_again_when_the_infrastructure_was_away(
    make_database: MakeDatabase, broker_url: str
) -> None:
    async with bench(make_database, broker_url) as made:
        made.failing.append(ConnectionError("the database is away"))
        await made.write([firing(1), firing(2)])
        await made.activity.until_quiet(LIMIT)
        assert sorted(int(message.data) for message in made.seen) == [1, 2]
        assert not made.failing


async def test_a_message_continues_the_trace_of_the_row_that_caused_it(
    make_database: MakeDatabase, broker_url: str
) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    row = Outgoing("realtime", "tocsin.firings.realtime", "t", b"1", f"00-{trace_id}-b7ad6b7169203331-01")
    async with bench(make_database, broker_url) as made:
        await made.write([row])
        await made.activity.until_quiet(LIMIT)
        (message,) = made.seen
        assert f"{message.span.get_span_context().trace_id:032x}" == trace_id
        assert message.traceparent is not None
        assert message.traceparent.startswith(f"00-{trace_id}-")
        assert message.traceparent != row.traceparent


async def test_applied_topology_shows_no_difference_and_a_missing_one_is_refused(broker_url: str) -> None:
    broker = Broker(broker_url, "test")
    with pytest.raises(TopologyRefused, match="tocsin migrate"):
        await asyncio.wait_for(broker.run(asyncio.Event()), 10)
    await broker.close()
    client = await nats_client.connect(broker_url)
    await apply(client.jetstream())
    await apply(client.jetstream())
    assert await compare(client.jetstream()) == []
    await client.close()
