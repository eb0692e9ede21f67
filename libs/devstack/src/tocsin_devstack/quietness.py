"""Proves that nothing is under way, not by the services' own counters but by databases and streams."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta

from nats.js import JetStreamContext

from tocsin_devstack.reading import Databases
from tocsin_kit.messaging.streams import STREAMS

_LOOK_EVERY = timedelta(milliseconds=10)
_ACKNOWLEDGED_WITHIN = timedelta(seconds=5)
_OUTBOX = "SELECT count(*) FROM outbox"
_JOBS = "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running') AND due_at <= $1"
_DUE = """
    SELECT count(*) FROM deliveries
    WHERE status = 'sending' OR status IN ('pending', 'held', 'retrying', 'unknown') AND due_at <= $1
"""
_CALLBACKS = "SELECT count(*) FROM callbacks WHERE verified AND handed_on_at IS NULL"


class NotFinished(Exception):
    """The counters say that all is quiet, but something is under way; the message names it."""


async def prove_quiet(databases: Databases, streams: JetStreamContext, now: datetime) -> None:
    """Return when outboxes and work queues are empty, no job is queued or running, and no delivery or callback due.

    An acknowledgement may still be on its way to the broker, so this looks again for some seconds of real time. Raises
    NotFinished naming what is left then.
    """
    try:
        async with asyncio.timeout(_ACKNOWLEDGED_WITHIN.total_seconds()):
            while left := await _left(databases, streams, now):
                await _real_time_passes()
    except TimeoutError:
        raise NotFinished(", ".join(f"{n} {what}" for what, n in left.items())) from None


async def _left(databases: Databases, streams: JetStreamContext, now: datetime) -> Mapping[str, int]:
    of = databases.of
    counts = {f"rows in the {service}'s outbox": await of[service].fetchval(_OUTBOX) for service in of}
    counts["jobs queued or running"] = await of["scheduler"].fetchval(_JOBS, now)
    counts["deliveries due or sending"] = await of["dispatcher"].fetchval(_DUE, now)
    counts["callbacks not handed on"] = await of["gateway"].fetchval(_CALLBACKS)
    for stream in STREAMS:
        if stream.is_work_queue:
            info = await streams.stream_info(stream.name)
            counts[f"messages in {stream.name}"] = info.state.messages
    return {what: n for what, n in counts.items() if n}


async def _real_time_passes() -> None:
    """The broker's time is real, whatever the clock says."""
    try:
        await asyncio.wait_for(asyncio.Event().wait(), _LOOK_EVERY.total_seconds())
    except TimeoutError:
        return
