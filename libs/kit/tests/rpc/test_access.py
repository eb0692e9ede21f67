"""Who may come in, and as whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from random import Random
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Tracer
from prometheus_client import CollectorRegistry

from tocsin.alerts.v1 import alert_pb2, evaluation_pb2, fact_pb2
from tocsin.jobs.v1 import job_pb2, job_pb2_grpc
from tocsin_kit.clock import SteppedClock
from tocsin_kit.rpc.caller import Caller, Scope, partner_of, required_partner_of
from tocsin_kit.rpc.client import channel
from tocsin_kit.rpc.errors import Reason, TocsinError, from_rpc_error
from tocsin_kit.rpc.server import GrpcServer, Registration
from tocsin_kit.rpc.tokens import TokenVerifier
from tocsin_kit.telemetry.metrics import Metrics

from .conftest import START, Bench, Desk, Keys

GET_ALERT = alert_pb2.GetAlertRequest(id=1)
STATS = job_pb2.GetJobStatsRequest()
CALLER_OF_7 = Caller("42", 42, 7, frozenset({Scope.USER}))
OPERATOR = Caller("ops", None, None, frozenset({Scope.ADMIN}))


async def refused(call: grpc.aio.UnaryUnaryCall) -> TocsinError:  # type: ignore[type-arg]
    """The error a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def test_a_user_comes_in_as_that_user_of_that_partner(bench: Bench) -> None:
    await bench.alerts.GetAlert(GET_ALERT, metadata=bench.bearing(Scope.USER))
    assert bench.desk.callers == [CALLER_OF_7]
    assert bench.desk.callers[0].require_user() == (7, 42)


async def test_a_call_without_a_token_is_unauthenticated(bench: Bench) -> None:
    error = await refused(bench.alerts.GetAlert(GET_ALERT))
    assert error.reason is Reason.TOKEN_INVALID
    assert error.code is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer  ", "Basic abc", "Bearer a.b.c", "Bearer " + "x" * 5000])
async def test_a_header_without_a_good_token_is_unauthenticated(bench: Bench, header: str) -> None:
    error = await refused(bench.alerts.GetAlert(GET_ALERT, metadata=(("authorization", header),)))
    assert error.reason is Reason.TOKEN_INVALID


async def test_a_token_expires_by_the_passed_clock_also_when_it_is_cached(bench: Bench) -> None:
    token = bench.bearing(Scope.USER, minutes=5)
    await bench.alerts.GetAlert(GET_ALERT, metadata=token)
    bench.clock.advance(timedelta(minutes=5))
    error = await refused(bench.alerts.GetAlert(GET_ALERT, metadata=token))
    assert error.reason is Reason.TOKEN_EXPIRED
    assert error.code is grpc.StatusCode.UNAUTHENTICATED


async def test_a_scope_that_the_method_does_not_list_is_refused(bench: Bench) -> None:
    for scope in (Scope.USER, Scope.PARTNER, Scope.SERVICE, Scope.INTERNAL):
        error = await refused(bench.jobs.GetJobStats(STATS, metadata=bench.bearing(scope)))
        assert (error.reason, error.code) == (Reason.SCOPE_MISSING, grpc.StatusCode.PERMISSION_DENIED), scope
    await bench.jobs.GetJobStats(STATS, metadata=bench.bearing(Scope.ADMIN))
    assert [caller.partner_id for caller in bench.desk.callers] == [None]


async def test_a_back_end_acts_for_the_user_it_names(bench: Bench) -> None:
    metadata = (*bench.bearing(Scope.SERVICE, subject="core-banking"), ("tocsin-user", "99"))
    await bench.alerts.GetAlert(GET_ALERT, metadata=metadata)
    assert bench.desk.callers[0].require_user() == (7, 99)


async def test_a_back_end_that_names_nobody_may_not_call_a_users_method(bench: Bench) -> None:
    error = await refused(bench.alerts.GetAlert(GET_ALERT, metadata=bench.bearing(Scope.SERVICE)))
    assert error.reason is Reason.SCOPE_MISSING


@pytest.mark.parametrize("user", ["", "x", "1.5", "9" * 19, "-"])
async def test_a_back_end_must_name_an_id(bench: Bench, user: str) -> None:
    metadata = (*bench.bearing(Scope.SERVICE), ("tocsin-user", user))
    error = await refused(bench.alerts.GetAlert(GET_ALERT, metadata=metadata))
    assert error.reason is Reason.INVALID_FIELD
    assert error.violations[0].field == "tocsin-user"


@pytest.mark.parametrize("scope", [Scope.USER, Scope.PARTNER, Scope.ADMIN, Scope.INTERNAL])
async def test_nobody_else_acts_for_a_user(bench: Bench, scope: Scope) -> None:
    metadata = (*bench.bearing(scope), ("tocsin-user", "99"))
    error = await refused(bench.alerts.GetAlert(GET_ALERT, metadata=metadata))
    assert error.reason is Reason.SCOPE_MISSING
    assert bench.desk.callers == []


async def test_a_back_end_posts_facts_as_its_partner(bench: Bench) -> None:
    request = fact_pb2.DeleteFactsRequest()
    error = await refused(bench.facts.DeleteFacts(request, metadata=bench.bearing(Scope.USER)))
    assert error.reason is Reason.SCOPE_MISSING, "access is checked before the request is looked at"


async def test_our_services_come_in_with_their_own_tokens(bench: Bench) -> None:
    tracer = bench.provider.get_tracer("test")
    async with channel(f"127.0.0.1:{bench.server.port}", tokens=bench.internal(), tracer=tracer) as ours:
        recheck = ours.unary_unary(
            "/tocsin.alerts.v1.EvaluationService/RecheckFirings",
            request_serializer=evaluation_pb2.RecheckFiringsRequest.SerializeToString,
            response_deserializer=evaluation_pb2.RecheckFiringsResponse.FromString,
        )
        reference = evaluation_pb2.FiringReference(partner_id=7, firing_id="01890000-0000-7000-8000-000000000000")
        await recheck(evaluation_pb2.RecheckFiringsRequest(firings=[reference]))
    assert bench.desk.callers == [Caller("dispatcher", None, None, frozenset({Scope.INTERNAL}))]


def reflection_on(opened: grpc.aio.Channel) -> Any:
    """The reflection stub, whose types know synchronous channels only."""
    make: Any = reflection_pb2_grpc.ServerReflectionStub
    return make(opened)


async def test_health_is_open_and_reflection_lists_the_services(bench: Bench) -> None:

    health: Any = health_pb2_grpc.HealthStub(bench.channel)
    answer = await health.Check(health_pb2.HealthCheckRequest(service="tocsin.jobs.v1.JobService"))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING

    async def asking() -> AsyncIterator[Any]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    listing = reflection_on(bench.channel).ServerReflectionInfo(asking())
    names = [service.name async for page in listing for service in page.list_services_response.service]
    assert "tocsin.alerts.v1.AlertService" in names

    bench.server.not_ready()
    answer = await health.Check(health_pb2.HealthCheckRequest(service=""))
    assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_without_reflection_nothing_is_told() -> None:

    server, tracer = served([])
    await server.start()
    try:
        async with channel(f"127.0.0.1:{server.port}", tokens=None, tracer=tracer) as opened:
            listing = reflection_on(opened).ServerReflectionInfo()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                async for _ in listing:
                    pass
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    finally:
        await server.stop(timedelta(seconds=1))


def served(registrations: list[Registration]) -> tuple[GrpcServer, Tracer]:
    """A server that is not started, and a tracer."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    clock = SteppedClock(START)
    verifier, metrics = TokenVerifier(Keys(), clock), Metrics(CollectorRegistry())
    return GrpcServer(0, registrations, verifier=verifier, metrics=metrics, tracer=tracer, random=Random(1)), tracer


def test_a_method_without_access_rights_keeps_the_server_from_being_made() -> None:

    unprotected: Any = health_pb2.DESCRIPTOR.services_by_name["Health"]
    with pytest.raises(ValueError, match="has no option"):
        served([Registration(Desk(), health_pb2_grpc.add_HealthServicer_to_server, unprotected)])


async def test_a_taken_port_is_an_error(bench: Bench) -> None:
    descriptor = job_pb2.DESCRIPTOR.services_by_name["JobService"]
    server, _ = served(
        [Registration(Desk().add(descriptor), job_pb2_grpc.add_JobServiceServicer_to_server, descriptor)]
    )
    server.port = bench.server.port
    with pytest.raises(OSError, match="cannot listen"):
        await server.start()


def test_the_partner_is_the_tokens_and_only_operators_name_one() -> None:
    assert partner_of(CALLER_OF_7, 0) == 7
    assert partner_of(CALLER_OF_7, None) == 7
    assert partner_of(OPERATOR, 8) == 8
    assert partner_of(OPERATOR, 0) is None
    with pytest.raises(TocsinError, match="partner_id"):
        partner_of(CALLER_OF_7, 7)
    with pytest.raises(TocsinError, match=r"items\[2\].partner_id: is required"):
        required_partner_of(OPERATOR, 0, "items[2].partner_id")


def test_an_operator_is_no_user() -> None:
    with pytest.raises(TocsinError) as caught:
        OPERATOR.require_user()
    assert caught.value.reason is Reason.SCOPE_MISSING
