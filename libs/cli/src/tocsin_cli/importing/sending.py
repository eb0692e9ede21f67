"""Sends batches of facts over gRPC: a deadline each, and another try where that can help."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

import grpc

from tocsin.alerts.v1 import fact_pb2, fact_pb2_grpc
from tocsin_cli.importing.batches import Lane
from tocsin_cli.importing.remembering import Answer, Memory
from tocsin_cli.importing.rows import FactKind, Row
from tocsin_kit.backoff import Backoff
from tocsin_kit.clock import Clock
from tocsin_kit.rpc.errors import TocsinError, from_rpc_error

#: The services' own limit of a call.
DEADLINE = timedelta(seconds=30)
#: Five tries within about ten seconds: a service that restarts is back by then.
PATIENCE = Backoff(timedelta(milliseconds=500), 2.0, 5, timedelta(seconds=5))
#: Told how many rows are done.
OnSent = Callable[[int], None]


@dataclass(frozen=True)
class _Call:
    """How a kind of fact is sent."""

    method: str
    request: Callable[..., Any]
    items: str
    has_backfill: bool = True


_CALLS = {
    FactKind.PROFILE: _Call("PutProfiles", fact_pb2.PutProfilesRequest, "profiles", has_backfill=False),
    FactKind.ACCOUNT: _Call("PutAccounts", fact_pb2.PutAccountsRequest, "accounts"),
    FactKind.TRANSACTION: _Call("PostTransactions", fact_pb2.PostTransactionsRequest, "transactions"),
    FactKind.GOAL: _Call("PutGoals", fact_pb2.PutGoalsRequest, "goals"),
    FactKind.BUDGET: _Call("PutBudgets", fact_pb2.PutBudgetsRequest, "budgets"),
    FactKind.BILL: _Call("PutBills", fact_pb2.PutBillsRequest, "bills"),
}


class Sender:
    """Sends one run's facts. `backfill`: they are history and fire nothing."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        backfill: bool,
        clock: Clock,
        random: Random,
        patience: Backoff,
    ) -> None:
        self._stub = fact_pb2_grpc.FactServiceStub(channel)
        self._backfill, self._clock, self._random, self._patience = backfill, clock, random, patience
        self._stopped: TocsinError | None = None

    async def send(self, stages: Sequence[Sequence[Lane]], memory: Memory, on_sent: OnSent) -> TocsinError | None:
        """Send what `memory` does not hold as done, noting each batch. Answers what stopped it, None at the end."""
        for stage in stages:
            await asyncio.gather(*(self._send_lane(lane, memory, on_sent) for lane in stage))
            if self._stopped is not None:
                return self._stopped
        return None

    async def _send_lane(self, lane: Lane, memory: Memory, on_sent: OnSent) -> None:
        """One batch after the other, until another lane has failed."""
        offset = 0
        for number, rows in enumerate(lane.batches):
            if self._stopped is not None:
                return
            if number >= memory.done(lane.name):
                try:
                    answer = await self._answer(lane.kind, rows)
                except TocsinError as error:
                    self._stopped = self._stopped or error
                    return
                memory.note(lane.name, offset, answer)
            offset += len(rows)
            on_sent(len(rows))

    async def _answer(self, kind: FactKind, rows: Sequence[Row]) -> Answer:
        """What the service says to a batch. Raises TocsinError when trying again does not help or did not."""
        call = _CALLS[kind]
        request = call.request(**{call.items: [row.fact for row in rows]})
        if call.has_backfill:
            request.backfill = self._backfill
        failures = 0
        while True:
            try:
                told = await getattr(self._stub, call.method)(request, timeout=DEADLINE.total_seconds())
            except grpc.aio.AioRpcError as status:
                failures += 1
                error = from_rpc_error(status)
                if not error.retrying_can_help or self._patience.fast_phase_over(failures):
                    raise error from status
                await self._clock.sleep_until(self._clock.now() + self._patience.delay(failures, self._random))
            else:
                refused = tuple((each.index, each.field, each.message) for each in told.rejected)
                return Answer(refused, tuple(getattr(told, "unknown_people", ())))
