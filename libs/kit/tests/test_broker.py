"""A broker that goes and comes back, over a real server that is killed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import nats as nats_client
import pytest
import structlog.testing
from nats.aio.client import Client
from nats.js import JetStreamContext
from opentelemetry.sdk.trace import TracerProvider

from tocsin_devstack.nats import NatsServer
from tocsin_kit.activity import Activity
from tocsin_kit.lifecycle import Part, _Group
from tocsin_kit.messaging.broker import Broker, BrokerAway, TopologyRefused
from tocsin_kit.messaging.consumer import Consumer, Message, Verdict
from tocsin_kit.messaging.publisher import Outgoing, Publisher
from tocsin_kit.messaging.streams import LARGEST_MESSAGE, apply, compare

TRACER = TracerProvider().get_tracer("test")
LIMIT = timedelta(seconds=20)


class Heard:
    """Keeps what a consumer hands it."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.more = asyncio.Condition()

    async def handle(self, messages: Sequence[Message]) -> list[Verdict]:
        async with self.more:
            self.payloads += [message.data for message in messages]
            self.more.notify_all()
        return [Verdict.DONE for _ in messages]

    async def all_of(self, *payloads: bytes) -> None:
        async with asyncio.timeout(LIMIT.total_seconds()), self.more:
            await self.more.wait_for(lambda: set(payloads) <= set(self.payloads))


@asynccontextmanager
async def consuming(url: str, heard: Heard, **words: int) -> AsyncIterator[Publisher]:
    """A broker, a consumer of realtime firings, and a publisher."""
    activity, broker = Activity(), Broker(url, "test")
    consumer = Consumer(
        broker, "FIRINGS", "dispatcher-realtime", heard.handle, tracer=TRACER, activity=activity, **words
    )
    parts: list[Part] = [broker, consumer]
    group = _Group(parts, asyncio.get_running_loop().create_future())
    group.start()
    try:
        yield Publisher(broker, TRACER, activity)
    finally:
        await group.stop(timedelta(seconds=5))
        await broker.close()
        assert not group.failure.done(), group.failure.exception()
        group.failure.cancel()


@asynccontextmanager
async def jetstream(url: str) -> AsyncIterator[JetStreamContext]:
    """JetStream on a connection of the test's own, the topology applied."""
    client = await nats_client.connect(url)
    try:
        await apply(client.jetstream())
        yield client.jetstream()
    finally:
        await client.close()


async def sent(publisher: Publisher, payload: bytes) -> None:
    """Publish one firing, again until the broker has it."""
    async with asyncio.timeout(LIMIT.total_seconds()):
        while True:
            try:
                (error,) = await publisher.publish([firing(payload)])
            except BrokerAway:
                continue
            if error is None:
                return


def firing(payload: bytes) -> Outgoing:
    return Outgoing("realtime", "tocsin.firings.realtime", f"id of {payload[:20]!r}", payload)


async def test_consumers_hear_at_once_after_the_broker_was_killed_and_came_back(
    nats: NatsServer, broker_url: str
) -> None:
    async with jetstream(broker_url):
        pass
    heard = Heard()
    async with consuming(broker_url, heard) as publisher:
        await sent(publisher, b"before")
        await heard.all_of(b"before")
        for life in (b"second", b"third"):
            nats.kill()
            nats.start()
            await sent(publisher, life)
            started = asyncio.get_running_loop().time()
            await heard.all_of(life)
            assert asyncio.get_running_loop().time() - started < 5, "a pull lost with the server is not waited out"


class Slow(Heard):
    """Keeps each batch's size, and lets none end before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.may_end = asyncio.Event()

    async def handle(self, messages: Sequence[Message]) -> list[Verdict]:
        self.sizes.append(len(messages))
        verdicts = await super().handle(messages)
        await self.may_end.wait()
        return verdicts


async def test_what_trickles_in_while_a_batch_is_worked_on_comes_together(broker_url: str) -> None:
    heard = Slow()
    async with jetstream(broker_url), consuming(broker_url, heard, batch=50, concurrency=2) as publisher:
        await sent(publisher, b"first")
        await heard.all_of(b"first")
        later = [b"%d" % number for number in range(5)]
        assert await publisher.publish([firing(payload) for payload in later]) == [None] * 5
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5), heard.more:
                await heard.more.wait_for(lambda: len(heard.payloads) > 1)
        assert heard.sizes == [1]
        heard.may_end.set()
        await heard.all_of(*later)
    assert sum(heard.sizes) == 6
    assert len(heard.sizes) <= 3


async def test_full_batches_are_worked_on_side_by_side(broker_url: str) -> None:
    heard = Slow()
    payloads = [b"%d" % number for number in range(30)]
    async with jetstream(broker_url), consuming(broker_url, heard, batch=1, concurrency=3) as publisher:
        assert await publisher.publish([firing(payload) for payload in payloads]) == [None] * 30
        async with asyncio.timeout(LIMIT.total_seconds()), heard.more:
            await heard.more.wait_for(lambda: len(heard.payloads) >= 3)
        assert heard.sizes == [1, 1, 1], "no more than that"
        heard.may_end.set()
        await heard.all_of(*payloads)


@pytest.mark.parametrize("another", [False, True])
async def test_a_fault_in_a_handler_is_known_at_once_also_while_others_are_worked_on(
    broker_url: str, another: bool
) -> None:
    async def handle(messages: Sequence[Message]) -> list[Verdict]:
        if messages[0].data == b"waits":
            await asyncio.Event().wait()
        raise LookupError("a fault of ours")

    activity, broker = Activity(), Broker(broker_url, "test")
    consumer = Consumer(
        broker, "FIRINGS", "dispatcher-realtime", handle, tracer=TRACER, activity=activity, batch=1, concurrency=2
    )
    group = _Group([broker, consumer], asyncio.get_running_loop().create_future())
    async with jetstream(broker_url):
        group.start()
        try:
            publisher = Publisher(broker, TRACER, activity)
            for payload in [b"waits"] * another + [b"one"]:
                await sent(publisher, payload)
            with pytest.raises(LookupError):
                await asyncio.wait_for(asyncio.shield(group.failure), 15)
        finally:
            await group.stop(timedelta(seconds=5))
            await broker.close()


async def test_a_pull_that_the_broker_refuses_is_told_once_and_asked_again_with_pauses(broker_url: str) -> None:
    heard = Heard()
    async with jetstream(broker_url) as js, consuming(broker_url, heard) as publisher:
        await sent(publisher, b"before")
        await heard.all_of(b"before")
        with structlog.testing.capture_logs() as logs:
            await js.delete_consumer("FIRINGS", "dispatcher-realtime")
            async with asyncio.timeout(LIMIT.total_seconds()):
                while not [line for line in logs if line["event"] == "consumer_refused"]:
                    await js.account_info()
            await apply(js)
            await sent(publisher, b"after")
            await heard.all_of(b"before", b"after")
        refusals = [line["error"] for line in logs if line["event"] == "consumer_refused"]
        assert len(refusals) == len(set(refusals)) <= 3, refusals


async def test_a_service_starts_before_the_broker_and_stops_without_it(nats: NatsServer, broker_url: str) -> None:
    async with jetstream(broker_url):
        pass
    nats.kill()
    try:
        away, stopping = Broker(broker_url, "test"), asyncio.Event()
        running = asyncio.create_task(away.run(stopping))
        with pytest.raises(BrokerAway):
            await away.connection(timedelta(milliseconds=300))
        stopping.set()
        await asyncio.wait_for(running, 2)
        await away.close()
        heard = Heard()
        async with consuming(broker_url, heard) as publisher:
            nats.start()
            await sent(publisher, b"late")
            await heard.all_of(b"late")
    finally:
        if nats.pid is None:
            nats.start()


async def test_one_message_the_broker_cannot_take_keeps_no_other_back(broker_url: str) -> None:
    heard = Heard()
    async with jetstream(broker_url), consuming(broker_url, heard) as publisher:
        batch = [firing(b"first"), firing(b"x" * (9 * 1024 * 1024)), firing(b"last")]
        outcomes = await publisher.publish(batch)
        assert [error is None for error in outcomes] == [True, False, True]
        await heard.all_of(b"first", b"last")


async def test_a_server_that_takes_no_callback_of_full_size_is_refused(broker_url: str) -> None:
    class Narrow(Broker):
        async def _connect(self) -> Client:
            client = await super()._connect()
            client._max_payload = LARGEST_MESSAGE - 1
            return client

    async with jetstream(broker_url):
        broker = Narrow(broker_url, "test")
        with pytest.raises(TopologyRefused, match="max_payload"):
            await asyncio.wait_for(broker.run(asyncio.Event()), 10)
        await broker.close()


async def test_a_durable_that_filters_otherwise_is_refused_and_other_settings_are_told(broker_url: str) -> None:
    async with jetstream(broker_url) as js:
        assert await compare(js) == []
        info = await js.consumer_info("RECEIPTS", "dispatcher-receipts")
        await js.delete_consumer("RECEIPTS", "dispatcher-receipts")
        info.config.filter_subject = "tocsin.receipts.nothing"
        info.config.max_deliver = 3
        await js.add_consumer("RECEIPTS", info.config)
        found = {difference.what.rpartition(" ")[2]: difference.refuses for difference in await compare(js)}
        assert found == {"filter_subject": True, "max_deliver": False}
