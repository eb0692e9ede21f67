"""EvaluationService: what the dispatcher asks to be sure that nothing is lost or out of date, and the meter."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin.alerts.v1 import evaluation_pb2, evaluation_pb2_grpc
from tocsin_evaluator.doors.paging import ledger_place, ledger_token, size_of
from tocsin_evaluator.doors.past import not_fired_counts
from tocsin_evaluator.doors.spans import instant_of, span_of
from tocsin_evaluator.doors.translate import stamp_of
from tocsin_evaluator.doors.words import ALERT_TYPES, KINDS, WAY_NUMBERS, WAYS
from tocsin_evaluator.evaluation.recheck import Recheck, recheck
from tocsin_evaluator.facts.telling_again import ProfilesAgain
from tocsin_evaluator.kinds.registry import Registry
from tocsin_evaluator.model.words import KindName
from tocsin_evaluator.store import firings, ledger
from tocsin_evaluator.store.profile_copies import PARTS
from tocsin_kit.clock import Clock
from tocsin_kit.postgres.engine import in_transaction
from tocsin_kit.postgres.outbox import Outbox
from tocsin_kit.rpc.errors import invalid_field

Context = grpc.aio.ServicerContext[Any, Any]
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_LONGEST_LEDGER = timedelta(days=31)
_VERDICTS = {each: evaluation_pb2.RecheckVerdict.Value(f"RECHECK_VERDICT_{each.name}") for each in Recheck}


class EvaluationServicer(evaluation_pb2_grpc.EvaluationServiceServicer):
    """Serves EvaluationService."""

    def __init__(
        self, engine: AsyncEngine, outbox: Outbox, clock: Clock, registry: Registry, profiles: ProfilesAgain
    ) -> None:
        self._engine, self._outbox, self._clock, self._registry = engine, outbox, clock, registry
        self._profiles = profiles

    async def RecheckFirings(
        self, request: evaluation_pb2.RecheckFiringsRequest, context: Context
    ) -> evaluation_pb2.RecheckFiringsResponse:
        """Which firings still hold."""
        asked = [(each.partner_id, UUID(each.firing_id)) for each in request.firings]
        async with self._engine.connect() as connection:
            found = await recheck(connection, self._registry, asked, self._clock.now())
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

    async def SummariseProfiles(
        self, request: evaluation_pb2.SummariseProfilesRequest, context: Context
    ) -> evaluation_pb2.SummariseProfilesResponse:
        """People's versions summed up."""
        found = await self._profiles.sums(request.partner_id or None)
        return evaluation_pb2.SummariseProfilesResponse(
            sums=[
                evaluation_pb2.ProfileSum(partner_id=each.partner_id, part=each.part, count=each.count, xor=each.xor)
                for each in found
            ]
        )

    async def RepublishProfiles(
        self, request: evaluation_pb2.RepublishProfilesRequest, context: Context
    ) -> evaluation_pb2.RepublishProfilesResponse:
        """Publish what was told of people again, under message ids of their own."""
        after = request.after_user_id if request.HasField("after_user_id") else -(2**63)
        told = await self._profiles.tell(request.partner_id, list(request.parts) or range(PARTS), after)
        return evaluation_pb2.RepublishProfilesResponse(published=told.profiles, last_user_id=told.after)

    async def GetEvaluationLedger(
        self, request: evaluation_pb2.GetEvaluationLedgerRequest, context: Context
    ) -> evaluation_pb2.GetEvaluationLedgerResponse:
        """What was evaluated, minute by minute."""
        now = self._clock.now()
        since, until = span_of(*_asked(request), now, default=_HOUR, longest=_LONGEST_LEDGER)
        asked = ledger.Asked(since, until, KINDS.get(request.alert_type), WAYS.get(request.way))
        size, place = size_of(request.page_size), ledger_place(request.page_token)
        async with self._engine.connect() as connection:
            found = await ledger.page(connection, asked, place, size + 1)
        token = ledger_token(found[size - 1].place) if len(found) > size else ""
        lines = [_line_message(each) for each in found[:size]]
        return evaluation_pb2.GetEvaluationLedgerResponse(lines=lines, next_page_token=token)


def _asked(request: evaluation_pb2.GetEvaluationLedgerRequest) -> tuple[Timestamp | None, Timestamp | None]:
    since = request.since if request.HasField("since") else None
    return since, request.until if request.HasField("until") else None


def _line_message(total: ledger.Total) -> evaluation_pb2.EvaluationLedgerLine:
    return evaluation_pb2.EvaluationLedgerLine(
        minute=stamp_of(total.minute),
        alert_type=ALERT_TYPES[KindName(total.kind)],
        way=WAY_NUMBERS[total.way],
        evaluated=total.tally.evaluated,
        true_count=total.tally.true,
        fired=total.tally.fired,
        not_fired=not_fired_counts(total.tally.reasons),
    )


def _span(
    request: evaluation_pb2.SummariseFiringsRequest | evaluation_pb2.RepublishFiringsRequest,
) -> tuple[datetime, datetime]:
    """Since when and until when, at most a day: callers walk longer spans."""
    since, until = instant_of(request.since, "since"), instant_of(request.until, "until")
    if until - since > _DAY:
        raise invalid_field("until", "must be at most a day after since")
    return since, until
