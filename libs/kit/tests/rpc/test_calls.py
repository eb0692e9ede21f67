"""What becomes of a call: limits, cancellation, errors, validation, traces and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import grpc
import pytest
from opentelemetry.trace import SpanKind, StatusCode
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from structlog.testing import capture_logs

from tocsin.alerts.v1 import alert_pb2, evaluation_pb2
from tocsin.jobs.v1 import job_pb2
from tocsin_kit.rpc.caller import Scope
from tocsin_kit.rpc.client import channel
from tocsin_kit.rpc.deadlines import time_left
from tocsin_kit.rpc.errors import (
    FieldViolation,
    Reason,
    TocsinError,
    from_rpc_error,
    from_status,
    invalid_fields,
    not_found,
    rate_limited,
    to_status,
)

from .conftest import Bench

STATS = job_pb2.GetJobStatsRequest()
PATIENCE = 5.0


async def refused(call: Awaitable[Any]) -> TocsinError:
    """The error a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


def stats(bench: Bench, **options: Any) -> Any:
    """One call of an operator."""
    return bench.jobs.GetJobStats(STATS, metadata=bench.bearing(Scope.ADMIN), **options)


def behaving(bench: Bench, behave: Callable[[], Awaitable[Any]]) -> None:
    """Let every method do `behave` and answer nothing."""

    async def served(_request: Any, _context: Any) -> None:
        await behave()

    bench.desk.behave = served


def raising(bench: Bench, error: BaseException) -> None:
    """Let every method raise `error`."""

    async def fail() -> None:
        raise error

    behaving(bench, fail)


@pytest.mark.parametrize("reason", list(Reason))
async def test_every_reason_travels_with_its_details(bench: Bench, reason: Reason) -> None:
    told = TocsinError("said so", reason, [FieldViolation("a.b", "is wrong")], timedelta(seconds=3))
    raising(bench, told)
    with capture_logs():
        error = await refused(stats(bench))
    assert (error.reason, error.message, error.violations) == (reason, "said so", told.violations)
    assert error.retry_after == timedelta(seconds=3)


def test_an_error_without_details_has_none_after_the_journey() -> None:
    error = from_status(to_status(not_found("alert 3")))
    assert error is not None
    assert (error.reason, str(error)) == (Reason.NOT_FOUND, "alert 3 not found")
    assert (error.violations, error.retry_after, error.retrying_can_help) == ((), None, False)
    assert rate_limited("slowly", timedelta(seconds=1)).retrying_can_help


def test_many_violations_are_all_listed_and_three_are_quoted() -> None:
    error = invalid_fields([FieldViolation(f"f{n}", "is wrong") for n in range(5)])
    assert str(error) == "f0: is wrong; f1: is wrong; f2: is wrong (and 2 more)"
    assert len(error.violations) == 5


async def test_the_unexpected_is_logged_and_not_told(bench: Bench) -> None:
    raising(bench, ZeroDivisionError("the balance is 1234.56"))
    with capture_logs() as logged:
        error = await refused(stats(bench))
    assert error.reason is Reason.INTERNAL
    assert "1234" not in error.message
    assert [line["event"] for line in logged] == ["rpc_failed"]


async def test_infrastructure_that_is_away_is_unavailable(bench: Bench) -> None:
    raising(bench, PoolTimeoutError("pool"))
    with capture_logs():
        error = await refused(stats(bench))
    assert (error.reason, error.retrying_can_help) == (Reason.UNAVAILABLE, True)


async def test_a_bad_field_is_named_by_its_path(bench: Bench) -> None:
    alert = alert_pb2.Alert(account_threshold=alert_pb2.AccountThresholdCondition(account_id=-1, threshold="12,5"))
    error = await refused(
        bench.alerts.CreateAlert(alert_pb2.CreateAlertRequest(alert=alert), metadata=bench.bearing(Scope.USER))
    )
    assert error.reason is Reason.INVALID_FIELD
    fields = {violation.field for violation in error.violations}
    assert {"alert.account_threshold.account_id", "alert.account_threshold.threshold"} <= fields
    assert bench.desk.callers == []


async def test_a_bad_item_is_named_by_its_index(bench: Bench) -> None:
    request = evaluation_pb2.RecheckFiringsRequest()
    request.firings.add(partner_id=1, firing_id="01890000-0000-7000-8000-000000000000")
    request.firings.add(partner_id=1, firing_id="nonsense")
    error = await refused(bench.evaluation.RecheckFirings(request, metadata=bench.bearing(Scope.INTERNAL)))
    assert [violation.field for violation in error.violations] == ["firings[1].firing_id"]


async def test_a_slow_answer_ends_at_the_callers_deadline_on_both_sides(bench: Bench) -> None:
    ended = asyncio.Event()

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    behaving(bench, never)
    error = await refused(stats(bench, timeout=0.2))
    assert error.reason is Reason.DEADLINE_EXCEEDED
    await asyncio.wait_for(ended.wait(), PATIENCE)


async def test_a_call_has_ten_seconds_when_nobody_says_and_thirty_at_most(bench: Bench) -> None:
    left: list[timedelta | None] = []

    async def look() -> None:
        left.append(time_left())

    behaving(bench, look)
    metadata = bench.bearing(Scope.ADMIN)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{bench.server.port}") as bare:
        call = bare.unary_unary(
            "/tocsin.jobs.v1.JobService/GetJobStats",
            request_serializer=job_pb2.GetJobStatsRequest.SerializeToString,
            response_deserializer=job_pb2.GetJobStatsResponse.FromString,
        )
        await call(STATS, metadata=metadata)
        await call(STATS, metadata=metadata, timeout=500)
    await stats(bench)
    seconds = [round(span.total_seconds()) for span in left if span is not None]
    assert seconds == [10, 30, 10]


async def test_a_call_made_while_serving_gets_no_more_than_is_left(bench: Bench) -> None:
    left: list[float] = []

    async def serve(request: Any, context: Any) -> None:
        left.append(context.time_remaining())
        if len(left) == 1:
            await stats(bench, timeout=9)

    bench.desk.behave = serve
    await stats(bench, timeout=3)
    assert [round(seconds) for seconds in left] == [3, 3], "not the nine that the inner call asked for"


async def test_a_cancelled_call_ends_on_the_server_and_its_spans_end(bench: Bench) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def never() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    behaving(bench, never)
    task = asyncio.ensure_future(_answer_of(stats(bench)))
    await asyncio.wait_for(begun.wait(), PATIENCE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(ended.wait(), PATIENCE)
    async with asyncio.timeout(PATIENCE):
        while {span.kind for span in bench.spans.get_finished_spans()} != {SpanKind.CLIENT, SpanKind.SERVER}:
            await asyncio.get_running_loop().run_in_executor(None, bench.provider.force_flush)
    assert bench.registry.get_sample_value(
        "tocsin_rpc_requests_total",
        {"service": "tocsin.jobs.v1.JobService", "method": "GetJobStats", "status": "CANCELLED"},
    )


async def _answer_of(call: Any) -> Any:
    return await call


async def test_a_call_cancelled_through_its_handle_ends_on_the_server(bench: Bench) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def never() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    behaving(bench, never)
    call = stats(bench)
    waiting = asyncio.ensure_future(_answer_of(call))
    await asyncio.wait_for(begun.wait(), PATIENCE)
    assert call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(ended.wait(), PATIENCE)


async def test_a_server_that_is_not_there_is_unavailable(bench: Bench, silent_port: int) -> None:
    tracer = bench.provider.get_tracer("test")
    async with channel(f"127.0.0.1:{silent_port}", tokens=bench.internal(), tracer=tracer) as opened:
        call = opened.unary_unary("/x.Y/Z", request_serializer=bytes, response_deserializer=bytes)
        error = await refused(call(b""))
    assert (error.reason, error.retrying_can_help) == (Reason.UNAVAILABLE, True)


async def test_a_connection_that_is_reset_is_unavailable(bench: Bench, resetting_port: int) -> None:
    tracer = bench.provider.get_tracer("test")
    async with channel(f"127.0.0.1:{resetting_port}", tokens=bench.internal(), tracer=tracer) as opened:
        call = opened.unary_unary("/x.Y/Z", request_serializer=bytes, response_deserializer=bytes)
        error = await refused(call(b""))
    assert error.reason is Reason.UNAVAILABLE


async def test_a_server_that_stops_lets_calls_finish(bench: Bench) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        begun.set()
        await go_on.wait()

    behaving(bench, hold)
    answer = asyncio.ensure_future(_answer_of(stats(bench)))
    await asyncio.wait_for(begun.wait(), PATIENCE)
    stopping = asyncio.ensure_future(bench.server.stop(timedelta(seconds=PATIENCE)))
    go_on.set()
    assert await answer == job_pb2.GetJobStatsResponse()
    await asyncio.wait_for(stopping, PATIENCE)


async def test_a_server_that_stops_cuts_off_what_takes_too_long(bench: Bench) -> None:
    begun = asyncio.Event()

    async def never() -> None:
        begun.set()
        await asyncio.Event().wait()

    behaving(bench, never)
    answer = asyncio.ensure_future(_answer_of(stats(bench)))
    await asyncio.wait_for(begun.wait(), PATIENCE)
    await asyncio.wait_for(bench.server.stop(timedelta(seconds=0.1)), PATIENCE)
    assert (await refused(answer)).reason is Reason.UNAVAILABLE


async def test_the_servers_span_continues_the_clients_trace(bench: Bench) -> None:
    tracer = bench.provider.get_tracer("test")
    with tracer.start_as_current_span("caller") as outer:
        await stats(bench)
    async with asyncio.timeout(PATIENCE):
        while len(bench.spans.get_finished_spans()) < 3:
            await asyncio.get_running_loop().run_in_executor(None, bench.provider.force_flush)
    spans = {span.kind: span for span in bench.spans.get_finished_spans()}
    server, client = spans[SpanKind.SERVER], spans[SpanKind.CLIENT]
    assert server.context is not None
    assert client.context is not None
    assert server.parent is not None
    assert client.parent is not None
    assert server.context.trace_id == client.context.trace_id == outer.get_span_context().trace_id
    assert server.parent.span_id == client.context.span_id
    assert client.parent.span_id == outer.get_span_context().span_id
    assert dict(server.attributes or {}) == {
        "rpc.system": "grpc",
        "rpc.service": "tocsin.jobs.v1.JobService",
        "rpc.method": "GetJobStats",
        "rpc.grpc.status_code": 0,
    }
    assert server.status.status_code is StatusCode.UNSET


async def test_a_refused_call_is_counted_under_its_status(bench: Bench) -> None:
    raising(bench, not_found("job"))
    await refused(stats(bench))
    labels = {"service": "tocsin.jobs.v1.JobService", "method": "GetJobStats"}
    value = bench.registry.get_sample_value
    assert value("tocsin_rpc_requests_total", {**labels, "status": "NOT_FOUND"}) == 1
    assert value("tocsin_rpc_duration_seconds_count", labels) == 1


async def test_the_callers_own_token_is_passed_on_untouched(bench: Bench) -> None:
    tracer = bench.provider.get_tracer("test")
    async with channel(f"127.0.0.1:{bench.server.port}", tokens=bench.internal(), tracer=tracer) as opened:
        call = opened.unary_unary(
            "/tocsin.jobs.v1.JobService/GetJobStats",
            request_serializer=job_pb2.GetJobStatsRequest.SerializeToString,
            response_deserializer=job_pb2.GetJobStatsResponse.FromString,
        )
        await call(STATS, metadata=bench.bearing(Scope.ADMIN, subject="ops"))
    assert [caller.subject for caller in bench.desk.callers] == ["ops"]
