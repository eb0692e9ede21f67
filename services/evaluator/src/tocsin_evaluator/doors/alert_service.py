"""AlertService: what owners do with their alerts."""

import hashlib
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.ext.asyncio import AsyncEngine

from tocsin.alerts.v1 import alert_pb2, alert_pb2_grpc
from tocsin_evaluator.alerts.desk import AlertIsInactive, Desk, Once, Owner
from tocsin_evaluator.alerts.naming import default_name
from tocsin_evaluator.doors.paging import alert_place, alert_token, firing_place, firing_token, size_of
from tocsin_evaluator.doors.past import backtest_message, explanation_message
from tocsin_evaluator.doors.reading_alerts import changed, checked, kind_named, wish_of
from tocsin_evaluator.doors.spans import span_of
from tocsin_evaluator.doors.traces import current_trace
from tocsin_evaluator.doors.translate import alert_message, firing_message, wish_message
from tocsin_evaluator.doors.words import KINDS, NOT_FIRED
from tocsin_evaluator.evaluation.backtesting import Backtest
from tocsin_evaluator.evaluation.explaining import Explaining
from tocsin_evaluator.model.alerts import Wish
from tocsin_evaluator.model.backtest import Backtested, Window
from tocsin_evaluator.store import firings
from tocsin_evaluator.store.reading import TookTooLong
from tocsin_kit.clock import Clock
from tocsin_kit.ids import Ids
from tocsin_kit.postgres.idempotency import IdempotencyConflict, RequestKey
from tocsin_kit.rpc.caller import current_caller
from tocsin_kit.rpc.errors import Reason, TocsinError, not_found
from tocsin_kit.rpc.stages.validation import Validation

Context = grpc.aio.ServicerContext[Any, Any]
_BACKTEST = timedelta(days=90)
_LONGEST_BACKTEST = timedelta(days=731)


class AlertServicer(alert_pb2_grpc.AlertServiceServicer):
    """Serves AlertService."""

    def __init__(
        self, desk: Desk, explaining: Explaining, backtest: Backtest, engine: AsyncEngine, clock: Clock, ids: Ids
    ) -> None:
        self._desk, self._explaining, self._backtest = desk, explaining, backtest
        self._engine, self._clock, self._ids = engine, clock, ids
        self._validation = Validation()

    async def ListAlerts(self, request: alert_pb2.ListAlertsRequest, context: Context) -> alert_pb2.ListAlertsResponse:
        """The owner's alerts, newest first."""
        size, place = size_of(request.page_size), alert_place(request.page_token)
        active = request.active if request.HasField("active") else None
        found = await self._desk.page(_owner(), KINDS.get(request.alert_type), active, place, size + 1)
        shown, now = found[:size], self._clock.now()
        token = alert_token(shown[-1].id) if len(found) > size else ""
        return alert_pb2.ListAlertsResponse(alerts=[alert_message(each, now) for each in shown], next_page_token=token)

    async def CreateAlert(
        self, request: alert_pb2.CreateAlertRequest, context: Context
    ) -> alert_pb2.CreateAlertResponse:
        """Create an alert."""
        wish = wish_of(request.alert)
        try:
            made = await self._desk.create(_owner(), wish, self._once(request), current_trace())
        except IdempotencyConflict as conflict:
            raise TocsinError(str(conflict), Reason.IDEMPOTENCY_CONFLICT) from conflict
        return alert_pb2.CreateAlertResponse(alert=alert_message(made, self._clock.now()))

    def _once(self, request: alert_pb2.CreateAlertRequest) -> Once:
        """How to recognise the request when it comes again: from its caller, or else, under an id of ours, when its
        commit went through unseen. A request for another user is another request.
        """
        partner_id, user_id = current_caller().require_user()
        request_id = request.request_id or str(self._ids.uuid7())
        key = RequestKey(partner_id, f"{current_caller().subject}/{user_id}", "CreateAlert", request_id)
        return Once(key, hashlib.sha256(request.SerializeToString(deterministic=True)).digest())

    async def GetAlert(self, request: alert_pb2.GetAlertRequest, context: Context) -> alert_pb2.GetAlertResponse:
        """One alert."""
        found = await self._desk.get(_owner(), request.id)
        if found is None:
            raise not_found("alert")
        return alert_pb2.GetAlertResponse(alert=alert_message(found, self._clock.now()))

    async def UpdateAlert(
        self, request: alert_pb2.UpdateAlertRequest, context: Context
    ) -> alert_pb2.UpdateAlertResponse:
        """Replace an alert, or change the fields named."""

        def apply(stored: Wish) -> Wish:
            return self._changed(stored, request)

        done = await self._desk.change(_owner(), request.id, apply, current_trace())
        if done is None:
            raise not_found("alert")
        return alert_pb2.UpdateAlertResponse(alert=alert_message(done, self._clock.now()))

    def _changed(self, stored: Wish, request: alert_pb2.UpdateAlertRequest) -> Wish:
        before = wish_message(stored)
        if stored.name == default_name(stored.condition):
            before.name = ""  # a name made from the condition follows it
        merged = changed(before, request.alert, request.update_mask.paths)
        named = kind_named(merged)
        if named is not None and named is not stored.kind:
            raise TocsinError("an alert's kind cannot change", Reason.KIND_IS_FIXED)
        checked(self._validation, merged)
        return wish_of(merged)

    async def DeleteAlert(
        self, request: alert_pb2.DeleteAlertRequest, context: Context
    ) -> alert_pb2.DeleteAlertResponse:
        """Delete an alert."""
        if not await self._desk.delete(_owner(), request.id):
            raise not_found("alert")
        return alert_pb2.DeleteAlertResponse()

    async def EvaluateAlert(
        self, request: alert_pb2.EvaluateAlertRequest, context: Context
    ) -> alert_pb2.EvaluateAlertResponse:
        """Evaluate an alert now."""
        try:
            outcome = await self._desk.evaluate(_owner(), request.id, current_trace())
        except AlertIsInactive:
            return alert_pb2.EvaluateAlertResponse(reason=alert_pb2.NOT_FIRED_REASON_INACTIVE)
        if outcome is None:
            raise not_found("alert")
        if outcome.firing_ids:
            return alert_pb2.EvaluateAlertResponse(fired=True, firing_ids=[str(id_) for id_ in outcome.firing_ids])
        reason = alert_pb2.NOT_FIRED_REASON_NOT_TRUE if outcome.reason is None else NOT_FIRED[outcome.reason]
        return alert_pb2.EvaluateAlertResponse(reason=reason)

    async def ExplainAlert(
        self, request: alert_pb2.ExplainAlertRequest, context: Context
    ) -> alert_pb2.ExplainAlertResponse:
        """Why an alert fires or does not."""
        owner = _owner()
        try:
            explained = await self._explaining.explain(owner.partner_id, owner.user_id, request.id)
        except TookTooLong as error:
            raise TocsinError("the explanation took too long", Reason.DEADLINE_EXCEEDED) from error
        if explained is None:
            raise not_found("alert")
        return explanation_message(explained)

    async def BacktestAlert(
        self, request: alert_pb2.BacktestAlertRequest, context: Context
    ) -> alert_pb2.BacktestAlertResponse:
        """What an alert would have told."""
        now = self._clock.now()
        since, until = span_of(*_asked(request), now, default=_BACKTEST, longest=_LONGEST_BACKTEST)
        try:
            tested = await self._tested(request, Window(since, until))
        except TookTooLong as error:
            raise TocsinError("the backtest took too long: choose a shorter window", Reason.TOO_LARGE) from error
        if tested is None:
            raise not_found("alert")
        return backtest_message(tested)

    async def _tested(self, request: alert_pb2.BacktestAlertRequest, window: Window) -> Backtested | None:
        owner = _owner()
        if request.WhichOneof("tried") == "alert":
            return await self._backtest.of_wish(owner.partner_id, owner.user_id, wish_of(request.alert), window)
        return await self._backtest.of_alert(owner.partner_id, owner.user_id, request.alert_id, window)

    async def ListFirings(
        self, request: alert_pb2.ListFiringsRequest, context: Context
    ) -> alert_pb2.ListFiringsResponse:
        """An alert's firings, newest first."""
        owner = _owner()
        size, place = size_of(request.page_size), firing_place(request.page_token)
        if await self._desk.get(owner, request.id) is None:
            raise not_found("alert")
        async with self._engine.connect() as connection:
            found = await firings.page(connection, owner.partner_id, request.id, place, size + 1)
        shown = found[:size]
        token = firing_token(shown[-1].fired_at, shown[-1].id) if len(found) > size else ""
        return alert_pb2.ListFiringsResponse(firings=[firing_message(each) for each in shown], next_page_token=token)


def _asked(request: alert_pb2.BacktestAlertRequest) -> tuple[Timestamp | None, Timestamp | None]:
    since = request.since if request.HasField("since") else None
    return since, request.until if request.HasField("until") else None


def _owner() -> Owner:
    partner_id, user_id = current_caller().require_user()
    return Owner(partner_id, user_id)
