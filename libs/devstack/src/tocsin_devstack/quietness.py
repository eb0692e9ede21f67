"""Proves that nothing is under way, not by the services' own counters but by databases and streams."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta

from nats.js import JetStreamContext

from tocsin_devstack.reading import Databases
from tocsin_kit.messaging.streams import STREAMS

_LOOK_EVERY = timedelta(milliseconds=10)
ACKNOWLEDGED_WITHIN = timedelta(seconds=5)
_CALLBACKS_OF = timedelta(days=1)  # both services forget them after some weeks, not at the same instant
_OUTBOX = "SELECT count(*) FROM outbox"
_JOBS = "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running') AND due_at <= $1"
_DUE = """
    SELECT count(*) FROM deliveries
    WHERE status = 'sending' OR status IN ('pending', 'held', 'retrying', 'unknown') AND due_at <= $1
"""
_CALLBACKS = "SELECT id FROM callbacks WHERE received_at > $1"
_NOT_TAKEN_IN = """
    SELECT count(*) FROM unnest($1::uuid[]) AS passed_on (id)
    WHERE NOT EXISTS (SELECT FROM callbacks c WHERE c.id = passed_on.id)
"""


class NotFinished(Exception):
    """The counters say that all is quiet, but something is under way; the message names it."""


async def prove_quiet(
    databases: Databases, streams: JetStreamContext, now: datetime, limit: timedelta = ACKNOWLEDGED_WITHIN
) -> None:
    """Return when outboxes and work queues are empty, no job is under way, no delivery due, every callback taken in.

    An acknowledgement may still be on its way to the broker, so this looks again until `limit` of real time has passed.
    Raises NotFinished naming what is left then.
    """
    real_time = asyncio.get_running_loop().time
    ends = real_time() + limit.total_seconds()
    while left := await _left(databases, streams, now):
        if real_time() >= ends:
            raise NotFinished(", ".join(f"{n} {what}" for what, n in left.items()))
        await _real_time_passes()


async def _left(databases: Databases, streams: JetStreamContext, now: datetime) -> Mapping[str, int]:
    of = databases.of
    counts = {f"rows in the {service}'s outbox": await of[service].fetchval(_OUTBOX) for service in of}
    counts["jobs queued or running"] = await of["scheduler"].fetchval(_JOBS, now)
    counts["deliveries due or sending"] = await of["dispatcher"].fetchval(_DUE, now)
    callbacks = [row["id"] for row in await of["gateway"].fetch(_CALLBACKS, now - _CALLBACKS_OF)]
    counts["callbacks not taken in"] = await of["dispatcher"].fetchval(_NOT_TAKEN_IN, callbacks)
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
