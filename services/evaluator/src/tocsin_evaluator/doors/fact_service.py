"""FactService: what a bank posts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import available_timezones

import grpc
from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncEngine

from tocsin.alerts.v1 import fact_pb2, fact_pb2_grpc
from tocsin_evaluator.doors.reading_facts import FactReader, read_all
from tocsin_evaluator.doors.traces import current_trace
from tocsin_evaluator.doors.words import FACT_TABLES
from tocsin_evaluator.facts.coalescer import Coalescer
from tocsin_evaluator.facts.deletion import delete_facts
from tocsin_evaluator.model.facts import Arrival, Refused
from tocsin_evaluator.model.words import Refusal
from tocsin_evaluator.store.people import database_zones
from tocsin_kit.clock import Clock
from tocsin_kit.rpc.caller import current_caller
from tocsin_kit.rpc.stages.validation import Validation

Context = grpc.aio.ServicerContext[Any, Any]

_REASONS = {
    Refusal.INVALID_FIELD: fact_pb2.REJECTION_REASON_INVALID_FIELD,
    Refusal.ID_BELONGS_TO_ANOTHER: fact_pb2.REJECTION_REASON_ID_BELONGS_TO_ANOTHER,
}


@dataclass(frozen=True)
class _Told:
    """What a batch's caller is told."""

    accepted: int
    rejected: list[fact_pb2.Rejection]
    unknown_people: list[int]


class FactServicer(fact_pb2_grpc.FactServiceServicer):
    """Serves FactService."""

    def __init__(self, coalescer: Coalescer, engine: AsyncEngine, clock: Clock) -> None:
        self._coalescer, self._engine, self._clock = coalescer, engine, clock
        self._validation = Validation()
        self._reader: FactReader | None = None

    async def PutProfiles(self, request: fact_pb2.PutProfilesRequest, context: Context) -> fact_pb2.PutProfilesResponse:
        """Put people's profiles."""
        told = await self._take_in(request.profiles, backfill=False)
        return fact_pb2.PutProfilesResponse(accepted=told.accepted, rejected=told.rejected)

    async def PutAccounts(self, request: fact_pb2.PutAccountsRequest, context: Context) -> fact_pb2.PutAccountsResponse:
        """Put accounts and their balances."""
        told = await self._take_in(request.accounts, backfill=request.backfill)
        return fact_pb2.PutAccountsResponse(
            accepted=told.accepted, rejected=told.rejected, unknown_people=told.unknown_people
        )

    async def PutGoals(self, request: fact_pb2.PutGoalsRequest, context: Context) -> fact_pb2.PutGoalsResponse:
        """Put goals."""
        told = await self._take_in(request.goals, backfill=request.backfill)
        return fact_pb2.PutGoalsResponse(
            accepted=told.accepted, rejected=told.rejected, unknown_people=told.unknown_people
        )

    async def PutBudgets(self, request: fact_pb2.PutBudgetsRequest, context: Context) -> fact_pb2.PutBudgetsResponse:
        """Put budgets."""
        told = await self._take_in(request.budgets, backfill=request.backfill)
        return fact_pb2.PutBudgetsResponse(
            accepted=told.accepted, rejected=told.rejected, unknown_people=told.unknown_people
        )

    async def PutBills(self, request: fact_pb2.PutBillsRequest, context: Context) -> fact_pb2.PutBillsResponse:
        """Put bills."""
        told = await self._take_in(request.bills, backfill=request.backfill)
        return fact_pb2.PutBillsResponse(
            accepted=told.accepted, rejected=told.rejected, unknown_people=told.unknown_people
        )

    async def PostTransactions(
        self, request: fact_pb2.PostTransactionsRequest, context: Context
    ) -> fact_pb2.PostTransactionsResponse:
        """Post transactions."""
        told = await self._take_in(request.transactions, backfill=request.backfill)
        return fact_pb2.PostTransactionsResponse(
            accepted=told.accepted, rejected=told.rejected, unknown_people=told.unknown_people
        )

    async def DeleteFacts(self, request: fact_pb2.DeleteFactsRequest, context: Context) -> fact_pb2.DeleteFactsResponse:
        """Delete facts."""
        partner_id = current_caller().require_partner()
        rejected: list[fact_pb2.Rejection] = []
        doomed: list[tuple[str, int]] = []
        for position, item in enumerate(request.facts):
            if found := self._validation.violations_of(item):
                wrong = Refused(Refusal.INVALID_FIELD, found[0].field, found[0].description)
                rejected.append(_rejection(position, wrong))
            else:
                doomed.append((FACT_TABLES[item.type], item.id))
        await delete_facts(self._engine, partner_id, doomed, self._clock.now())
        return fact_pb2.DeleteFactsResponse(accepted=len(doomed), rejected=rejected)

    async def _take_in(self, items: Sequence[Message], *, backfill: bool) -> _Told:
        partner_id, at, trace = current_caller().require_partner(), self._clock.now(), current_trace()
        reader = await self._readers()
        facts, refused = read_all(items, lambda item: reader.fact(partner_id, item, at))
        positions = list(facts)
        unknown: list[int] = []
        if positions:
            answer = await self._coalescer.bring([Arrival(facts[each], backfill, trace, at) for each in positions])
            refused |= {positions[number]: why for number, why in answer.refused.items()}
            unknown = sorted(user for _, user in answer.unknown_people)
        rejected = [_rejection(position, refused[position]) for position in sorted(refused)]
        return _Told(len(items) - len(rejected), rejected, unknown)

    async def _readers(self) -> FactReader:
        """The reader, made when the first facts come: it needs to know the database's time zones."""
        if self._reader is None:
            async with self._engine.connect() as connection:
                zones = await database_zones(connection)
            self._reader = FactReader(self._validation, zones & available_timezones())
        return self._reader


def _rejection(index: int, refused: Refused) -> fact_pb2.Rejection:
    return fact_pb2.Rejection(
        index=index, reason=_REASONS[refused.refusal], field=refused.field, message=refused.message
    )
