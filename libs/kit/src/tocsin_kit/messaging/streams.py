"""JetStream's topology, declared here only (the contract's "Streams") and applied by `tocsin migrate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TypeVar

import nats
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

LANES = ("realtime", "user", "periodic", "bills")
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Durable:
    """A consumer that outlives its process; `subject` is what it takes from its stream."""

    name: str
    subject: str


@dataclass(frozen=True)
class Stream:
    """A stream and its durables. `max_age` None: kept until consumed (a work queue).

    Every stream refuses what does not fit (discard policy new), so one that nobody empties is limited by age only.
    """

    name: str
    subjects: tuple[str, ...]
    durables: tuple[Durable, ...]
    max_age: timedelta | None = None

    @property
    def max_bytes(self) -> int:
        """What a work queue may hold, far beyond what waits on a bad day; -1: no limit."""
        return 256 * _MEBIBYTE if self.is_work_queue else -1

    @property
    def is_work_queue(self) -> bool:
        """Whether a message leaves the stream when its durable has acknowledged it."""
        return self.max_age is None

    @property
    def prefix(self) -> str:
        """What all its subjects begin with."""
        return self.subjects[0].removesuffix(".>")


#: Who works on the jobs of which type, by the part of the type before the dot.
JOB_SERVICES = {"evaluate": "evaluator", "dispatch": "dispatcher", "scheduler": "scheduler", "gateway": "gateway"}

STREAMS = (
    Stream(
        "FIRINGS",
        ("tocsin.firings.>",),
        tuple(Durable(f"dispatcher-{lane}", f"tocsin.firings.{lane}") for lane in LANES),
    ),
    Stream("PROFILES", ("tocsin.profiles",), (Durable("dispatcher-profiles", "tocsin.profiles"),)),
    Stream(
        "JOBS",
        ("tocsin.jobs.>",),
        tuple(
            Durable(f"{service}-{lane}", f"tocsin.jobs.{verb}.{lane}")
            for verb, service in JOB_SERVICES.items()
            for lane in LANES
        ),
    ),
    Stream("JOB_EVENTS", ("tocsin.job-events",), (Durable("scheduler-events", "tocsin.job-events"),)),
    Stream("RECEIPTS", ("tocsin.receipts.>",), (Durable("dispatcher-receipts", "tocsin.receipts.>"),)),
    Stream("DELIVERY_EVENTS", ("tocsin.deliveries.>",), (), max_age=timedelta(days=7)),
)

#: What a message may weigh: a provider's callback has up to 2 MiB (gateway page) and some headers.
LARGEST_MESSAGE = 4 * _MEBIBYTE
ACK_WAIT = timedelta(seconds=30)
DUPLICATE_WINDOW = timedelta(minutes=2)


@lru_cache(maxsize=1024)
def stream_of(subject: str) -> Stream:
    """The stream that stores `subject`; LookupError when none does."""
    for stream in STREAMS:
        if subject == stream.prefix or subject.startswith(stream.prefix + "."):
            return stream
    raise LookupError(f"no stream stores {subject}")


def _stream_config(stream: Stream, replicas: int) -> StreamConfig:
    return StreamConfig(
        name=stream.name,
        subjects=list(stream.subjects),
        retention=RetentionPolicy.WORK_QUEUE if stream.is_work_queue else RetentionPolicy.LIMITS,
        discard=DiscardPolicy.NEW,
        max_age=stream.max_age.total_seconds() if stream.max_age else 0,
        max_bytes=stream.max_bytes,
        storage=StorageType.FILE,
        num_replicas=replicas,
        duplicate_window=DUPLICATE_WINDOW.total_seconds(),
        allow_atomic=True,
    )


def _consumer_config(durable: Durable) -> ConsumerConfig:
    return ConsumerConfig(
        durable_name=durable.name,
        filter_subject=durable.subject,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT.total_seconds(),
        max_deliver=-1,  # dead letters are decided by the application, never by a count
        max_ack_pending=1000,
    )


async def apply(js: JetStreamContext, replicas: int = 1) -> None:
    """Create or update every stream and durable. Repeatable."""
    for stream in STREAMS:
        config = _stream_config(stream, replicas)
        try:
            await js.stream_info(stream.name)
            await js.update_stream(config)
        except NotFoundError:
            await js.add_stream(config)
        for durable in stream.durables:
            await js.add_consumer(stream.name, _consumer_config(durable))


async def apply_to(servers: str, replicas: int = 1) -> None:
    """`apply` over a connection of its own to `servers` (URLs by comma), for commands that need no other."""
    client = await nats.connect(servers.split(","), max_reconnect_attempts=1, connect_timeout=5)
    try:
        await apply(client.jetstream(timeout=5), replicas)
    finally:
        await client.close()


@dataclass(frozen=True)
class Difference:
    """Something declared here stands otherwise at the broker. `refuses`: no service may start with it."""

    what: str
    wanted: str
    found: str
    refuses: bool


async def compare(js: JetStreamContext) -> list[Difference]:
    """What differs at the broker, by the fields set here only: a server adds many of its own."""
    differences: list[Difference] = []
    for stream in STREAMS:
        try:
            found = (await js.stream_info(stream.name)).config
        except NotFoundError:
            differences.append(Difference(f"stream {stream.name}", "exists", "missing", refuses=True))
            continue
        wanted = _stream_config(stream, found.num_replicas or 1)
        differences += _differences(f"stream {stream.name}", wanted, found, _STREAM_FIELDS)
        there = {info.name: info.config for info in await js.consumers_info(stream.name)}
        for durable in stream.durables:
            what = f"durable {durable.name} on {stream.name}"
            if durable.name not in there:
                differences.append(Difference(what, "exists", "missing", refuses=True))
                continue
            differences += _differences(what, _consumer_config(durable), there[durable.name], _DURABLE_FIELDS)
    return differences


#: The fields we set; with those that are True no service may start when they differ.
_STREAM_FIELDS = {
    "retention": True,
    "subjects": True,
    "discard": True,
    "max_age": False,
    "max_bytes": False,
    "storage": False,
    "duplicate_window": False,
    "allow_atomic": False,
}
_DURABLE_FIELDS = {
    "filter_subject": True,
    "ack_policy": True,
    "ack_wait": False,
    "max_deliver": False,
    "max_ack_pending": False,
}
Config = TypeVar("Config", StreamConfig, ConsumerConfig)


def _differences(what: str, wanted: Config, found: Config, fields: Mapping[str, bool]) -> list[Difference]:
    return [
        Difference(f"{what}: {field}", str(getattr(wanted, field)), str(getattr(found, field)), refuses)
        for field, refuses in fields.items()
        if getattr(wanted, field) != getattr(found, field)
    ]
