"""EvaluationService: what the dispatcher asks to be sure that nothing is lost or out of date."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin.alerts.v1 import evaluation_pb2, evaluation_pb2_grpc
from tocsin_evaluator.doors.translate import stamp_of
from tocsin_evaluator.evaluation.recheck import Recheck, recheck
from tocsin_evaluator.store import firings
from tocsin_kit.clock import Clock
from tocsin_kit.postgres.engine import in_transaction
from tocsin_kit.postgres.outbox import Outbox
from tocsin_kit.rpc.errors import invalid_field

Context = grpc.aio.ServicerContext[Any, Any]
_DAY = timedelta(days=1)
_VERDICTS = {each: evaluation_pb2.RecheckVerdict.Value(f"RECHECK_VERDICT_{each.name}") for each in Recheck}


class EvaluationServicer(evaluation_pb2_grpc.EvaluationServiceServicer):
    """Serves EvaluationService."""

    def __init__(self, engine: AsyncEngine, outbox: Outbox, clock: Clock) -> None:
        self._engine, self._outbox, self._clock = engine, outbox, clock

    async def RecheckFirings(
        self, request: evaluation_pb2.RecheckFiringsRequest, context: Context
    ) -> evaluation_pb2.RecheckFiringsResponse:
        """Which firings still hold."""
        asked = [(each.partner_id, UUID(each.firing_id)) for each in request.firings]
        async with self._engine.connect() as connection:
            found = await recheck(connection, asked, self._clock.now())
        return evaluation_pb2.RecheckFiringsResponse(
            firings=[
                evaluation_pb2.RecheckedFiring(
                    partner_id=partner_id,
                    firing_id=str(id_),
                    verdict=_VERDICTS[found.get((partner_id, id_), Recheck.ALERT_GONE)],
                )
                for partner_id, id_ in asked
            ]
        )

    async def SummariseFirings(
        self, request: evaluation_pb2.SummariseFiringsRequest, context: Context
    ) -> evaluation_pb2.SummariseFiringsResponse:
        """Firings counted minute by minute."""
        since, until = _span(request)
        async with self._engine.connect() as connection:
            minutes = await firings.summary(connection, request.partner_id or None, since, until)
        return evaluation_pb2.SummariseFiringsResponse(
            minutes=[
                evaluation_pb2.FiringMinute(
                    minute=stamp_of(each.minute), count=each.count, xor_high=each.xor_high, xor_low=each.xor_low
                )
                for each in minutes
            ]
        )

    async def RepublishFirings(
        self, request: evaluation_pb2.RepublishFiringsRequest, context: Context
    ) -> evaluation_pb2.RepublishFiringsResponse:
        """Publish the firings of a span again, under message ids of their own."""
        since, until = _span(request)
        partner_id, now = request.partner_id or None, self._clock.now()
        number = str(int(now.timestamp() * 1_000_000))

        async def work(connection: AsyncConnection) -> dict[str, int]:
            return await firings.republish(connection, partner_id, since, until, number, now)

        published = await in_transaction(self._engine, work)
        for work_class, n in published.items():
            self._outbox.wrote(work_class, n)
        return evaluation_pb2.RepublishFiringsResponse(published=sum(published.values()))


def _span(
    request: evaluation_pb2.SummariseFiringsRequest | evaluation_pb2.RepublishFiringsRequest,
) -> tuple[datetime, datetime]:
    """Since when and until when, at most a day: callers walk longer spans."""
    since, until = _instant(request.since, "since"), _instant(request.until, "until")
    if until - since > _DAY:
        raise invalid_field("until", "must be at most a day after since")
    return since, until


def _instant(stamp: Timestamp, field: str) -> datetime:
    try:
        return stamp.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise invalid_field(field, "is no instant") from None
