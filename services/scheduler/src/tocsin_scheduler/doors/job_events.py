"""The consumer of JOB_EVENTS."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from google.protobuf.message import DecodeError

from tocsin_kit.messaging.consumer import Message, Verdict
from tocsin_scheduler.doors.translate import report_of
from tocsin_scheduler.reports import Bookkeeper, Report

STREAM, DURABLE = "JOB_EVENTS", "scheduler-events"
_log = structlog.get_logger(__name__)


class JobEvents:
    """Hands what workers say to the bookkeeper; what cannot be read is logged and never comes again."""

    def __init__(self, bookkeeper: Bookkeeper) -> None:
        self._bookkeeper = bookkeeper

    async def handle(self, messages: Sequence[Message]) -> list[Verdict]:
        """A verdict per message."""
        read = [_read(message) for message in messages]
        await self._bookkeeper.take_in([report for report in read if report is not None])
        return [Verdict.DEAD if report is None else Verdict.DONE for report in read]


def _read(message: Message) -> Report | None:
    try:
        return report_of(message.message_id, message.data)
    except (DecodeError, ValueError) as error:
        _log.error("job_event_unreadable", message_id=message.message_id, error=str(error))
        return None
