"""Every call has a limit: the caller's, ours where the caller gave none, and never more than the cap."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from google.protobuf.message import Message

from tocsin_kit.rpc.deadlines import set_time_left
from tocsin_kit.rpc.errors import Reason, TocsinError
from tocsin_kit.rpc.stages.stage import Call, Proceed

#: When the caller gave none.
DEFAULT = timedelta(seconds=10)
#: However much the caller asked for.
LONGEST = timedelta(seconds=30)


async def deadline(call: Call, proceed: Proceed) -> Message:
    """The answer. Raises deadline_exceeded when it takes longer than the limit, at once when none is left."""
    remaining = call.context.time_remaining()
    limit = DEFAULT if remaining is None else min(timedelta(seconds=min(remaining, 1e6)), LONGEST)
    if limit <= timedelta(0):
        raise _exceeded(limit)
    set_time_left(limit)
    try:
        async with asyncio.timeout(limit.total_seconds()) as scope:
            return await proceed()
    except TimeoutError as error:
        if not scope.expired():
            raise
        raise _exceeded(limit) from error


def _exceeded(limit: timedelta) -> TocsinError:
    return TocsinError(f"not done within {limit.total_seconds():.3g} s", Reason.DEADLINE_EXCEEDED)
