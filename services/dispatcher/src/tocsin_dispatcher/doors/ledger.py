"""GetLedger: the books, for operators."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta

from tocsin.notifications.v1 import delivery_pb2
from tocsin_dispatcher.auditing.comparing import Books
from tocsin_dispatcher.auditing.reading import read_ledger
from tocsin_dispatcher.doors.notification_service import timestamp
from tocsin_dispatcher.doors.vocabulary import channel_to_proto, state_to_proto
from tocsin_dispatcher.store.database import Engine
from tocsin_dispatcher.store.ledger import Found
from tocsin_dispatcher.values.minutes import Compared
from tocsin_kit.clock import Clock
from tocsin_kit.rpc.errors import invalid_field

_UNLESS_SAID = timedelta(hours=1)
_LONGEST = timedelta(days=31)


@dataclass(frozen=True)
class LedgerRpc:
    """`books` are the evaluator's."""

    engine: Engine
    books: Books
    clock: Clock

    async def get(self, request: delivery_pb2.GetLedgerRequest) -> delivery_pb2.GetLedgerResponse:
        """The books of a span, read now. Raises invalid_field, and what the evaluator raises."""
        now = self.clock.now()
        until = request.until.ToDatetime(UTC) if request.HasField("until") else now
        since = request.since.ToDatetime(UTC) if request.HasField("since") else until - _UNLESS_SAID
        if not timedelta() < until - since <= _LONGEST:
            raise invalid_field("since", "must lie before `until`, by 31 days at most")
        ledger = await read_ledger(self.engine, self.books, request.partner_id, since, until, now)
        return delivery_pb2.GetLedgerResponse(
            minutes=[_minute(line) for line in ledger.lines],
            deliveries=[
                delivery_pb2.DeliveryTotal(channel=channel_to_proto(channel), status=state_to_proto(state), count=count)
                for channel, state, count in ledger.deliveries
            ],
            gap=ledger.gap,
            compared_until=timestamp(ledger.compared_until),
            missing_firing_ids=[str(id_) for id_ in ledger.missing_firings],
            unplanned=_finding(ledger.found.unplanned),
            lost=_finding(ledger.found.lost),
            overdue=_finding(ledger.found.overdue),
            orphans=_finding(ledger.found.orphans),
        )


def _minute(line: Compared) -> delivery_pb2.LedgerMinute:
    return delivery_pb2.LedgerMinute(
        minute=timestamp(line.minute),
        firings=line.firings,
        notifications=line.notifications,
        balanced=line.balanced,
    )


def _finding(found: Found) -> delivery_pb2.LedgerFinding:
    first = [delivery_pb2.LedgerReference(partner_id=one.partner_id, id=str(one.id)) for one in found.first]
    return delivery_pb2.LedgerFinding(count=found.count, first=first)
