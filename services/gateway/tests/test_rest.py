"""REST over HTTP: statuses, problems, limits, headers."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from starlette.requests import Request
from starlette.responses import StreamingResponse
from structlog.testing import capture_logs

from tocsin.alerts.v1 import alert_pb2, fact_pb2
from tocsin.notifications.v1 import notification_pb2
from tocsin_gateway import rest
from tocsin_gateway.rest import RestApi
from tocsin_kit.rpc.caller import Scope
from tocsin_kit.rpc.errors import FieldViolation, Reason, TocsinError, invalid_fields

from .conftest import Gateway, Start


async def test_a_call_travels_to_the_service_and_back(running_gateway: Gateway) -> None:
    seen: dict[str, str] = {}

    async def create(request: alert_pb2.CreateAlertRequest, metadata: dict[str, str]) -> alert_pb2.CreateAlertResponse:
        seen.update(metadata, request_id=request.request_id)
        request.alert.id = 7
        return alert_pb2.CreateAlertResponse(alert=request.alert)

    running_gateway.services.behaviours["CreateAlert"] = create
    token = running_gateway.token(scopes=(Scope.SERVICE,))
    status, body, headers = await running_gateway.call(
        "POST",
        "/api/v2/alerts",
        token=token,
        json={"goal": {"goal_id": "3"}, "name": "Car"},
        headers={"Idempotency-Key": "k1", "Tocsin-User": "5", "X-Request-Id": "r-1"},
    )
    assert (status, body["id"], body["goal"]["goal_id"]) == (201, "7", "3")
    assert (seen["authorization"], seen["tocsin-user"], seen["request_id"]) == (f"Bearer {token}", "5", "k1")
    assert seen["traceparent"], "the trace goes on"
    assert (headers["X-Request-Id"], headers["X-Content-Type-Options"]) == ("r-1", "nosniff")


async def test_an_answer_without_fields_is_204_with_no_body(running_gateway: Gateway) -> None:
    async def delete(_request: Any, _metadata: dict[str, str]) -> alert_pb2.DeleteAlertResponse:
        return alert_pb2.DeleteAlertResponse()

    running_gateway.services.behaviours["DeleteAlert"] = delete
    status, body, _ = await running_gateway.call("DELETE", "/api/v2/alerts/7")
    assert (status, body) == (204, b"")


PROBLEMS = [
    # what the service says, status, Retry-After
    (TocsinError("no", Reason.NOT_FOUND), 404, None),
    (TocsinError("no", Reason.SCOPE_MISSING), 403, None),
    (TocsinError("no", Reason.IDEMPOTENCY_CONFLICT), 409, None),
    (TocsinError("no", Reason.KIND_IS_FIXED), 400, None),
    (TocsinError("no", Reason.STATE_CONFLICT), 409, None),
    (TocsinError("no", Reason.RATE_LIMITED, retry_after=timedelta(seconds=6.5)), 429, "7"),
    (TocsinError("no", Reason.UNAVAILABLE), 503, "2"),
    (TocsinError("no", Reason.INTERNAL), 500, None),
]


@pytest.mark.parametrize(("error", "status", "retry_after"), PROBLEMS, ids=[str(row[0].reason) for row in PROBLEMS])
async def test_a_services_refusal_is_a_problem_with_the_same_reason(
    running_gateway: Gateway, error: TocsinError, status: int, retry_after: str | None
) -> None:
    async def refuse(_request: Any, _metadata: dict[str, str]) -> alert_pb2.GetAlertResponse:
        raise error

    running_gateway.services.behaviours["GetAlert"] = refuse
    answered, body, headers = await running_gateway.call("GET", "/api/v2/alerts/7")
    assert (answered, body["status"], body["reason"]) == (status, status, error.reason.value)
    assert headers["Content-Type"] == "application/problem+json"
    assert headers.get("Retry-After") == retry_after


async def test_the_services_fields_at_fault_are_named(running_gateway: Gateway) -> None:
    async def refuse(_request: Any, _metadata: dict[str, str]) -> alert_pb2.CreateAlertResponse:
        raise invalid_fields([FieldViolation("alert.goal.goal_id", "must be above 0")])

    running_gateway.services.behaviours["CreateAlert"] = refuse
    status, body, _ = await running_gateway.call("POST", "/api/v2/alerts", json={"goal": {}})
    assert status == 400
    assert body["errors"] == [{"field": "alert.goal.goal_id", "description": "must be above 0"}]


REFUSED: list[tuple[str, str, dict[str, Any], int, str, str | None]] = [
    # verb, path, what is sent, status, reason, the field that is named
    ("POST", "/api/v2/alerts", {"data": b"{"}, 400, "invalid_field", "body"),
    ("POST", "/api/v2/alerts", {"data": b'{"goal":7}'}, 400, "invalid_field", "alert.goal"),
    ("GET", "/api/v2/alerts?size=1", {}, 400, "invalid_field", "size"),
    ("GET", "/api/v2/alerts/x", {}, 400, "invalid_field", "id"),
    ("GET", "/api/v2/nothing", {}, 404, "not_found", None),
    ("PUT", "/api/v2/alerts", {"json": {}}, 405, "not_found", None),
    ("POST", "/healthz", {}, 404, "not_found", None),
    ("OPTIONS", "/api/v2/alerts", {}, 405, "not_found", None),
    ("GET", "/api/v2/alerts", {"headers": {"Request-Timeout": "soon"}}, 400, "invalid_field", "Request-Timeout"),
    ("GET", "/api/v2/alerts", {"headers": {"Tocsin-User": "me"}}, 400, "invalid_field", "Tocsin-User"),
    ("GET", "/api/v2/alerts", {"token": "x.y.z"}, 401, "token_invalid", None),
    ("GET", "/api/v2/alerts", {"headers": {"Authorization": "Basic x"}}, 401, "token_invalid", None),
    ("GET", "/api/v2/admin/metrics", {}, 403, "scope_missing", None),
]


async def test_what_is_wrong_is_a_problem_that_says_so(running_gateway: Gateway) -> None:
    for verb, path, sent, status, reason, at_fault in REFUSED:
        answered, body, _ = await running_gateway.call(verb, path, **sent)
        assert (answered, body["reason"]) == (status, reason), (verb, path, sent, body)
        assert [error["field"] for error in body["errors"]] == ([at_fault] if at_fault else []), body


async def test_an_error_that_nobody_expected_is_a_problem_that_tells_nothing_and_is_logged_once(
    running_gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_api: RestApi, _request: Request) -> None:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr(RestApi, "_match", fail)
    with capture_logs() as lines, caplog.at_level(logging.INFO):
        status, body, headers = await running_gateway.call("GET", "/api/v2/alerts", headers={"X-Request-Id": "r-1"})
    assert (status, body["status"], body["reason"]) == (500, 500, "internal")
    assert (headers["Content-Type"], headers["X-Request-Id"]) == ("application/problem+json", "r-1")
    assert "secret" not in str(body)
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["request_failed"]
    assert [line.getMessage() for line in caplog.records if line.levelno >= logging.ERROR] == []


async def test_an_answer_that_fails_half_way_is_cut_off(
    running_gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def half() -> AsyncIterator[bytes]:
        yield b'{"alerts":['
        raise RuntimeError("the rest is gone")

    async def count(_request: Any, _metadata: dict[str, str]) -> notification_pb2.CountUnreadResponse:
        return notification_pb2.CountUnreadResponse(count=2)

    running_gateway.services.behaviours["CountUnread"] = count
    monkeypatch.setattr(rest, "Response", lambda *_given, **_more: StreamingResponse(half()))
    with pytest.raises(aiohttp.ClientError):
        await running_gateway.call("GET", "/api/v2/notifications/unread-count")


async def test_an_expired_token_is_told_apart(running_gateway: Gateway) -> None:
    token = running_gateway.token(expires_at=running_gateway.clock.now() - timedelta(seconds=1))
    status, body, headers = await running_gateway.call("GET", "/api/v2/alerts", token=token)
    assert (status, body["reason"], headers["WWW-Authenticate"]) == (401, "token_expired", "Bearer")


async def test_bodies_are_bounded_and_batches_may_be_larger(running_gateway: Gateway) -> None:
    async def put(_request: Any, _metadata: dict[str, str]) -> fact_pb2.PutAccountsResponse:
        return fact_pb2.PutAccountsResponse()

    running_gateway.services.behaviours["PutAccounts"] = put
    two_mebibytes = b'{"name":"' + b"x" * 2 * 1024 * 1024 + b'"}'
    status, body, _ = await running_gateway.call("POST", "/api/v2/alerts", data=two_mebibytes)
    assert (status, body["reason"]) == (413, "too_large")
    batch = b'{"accounts":[' + b" " * 2 * 1024 * 1024 + b"]}"
    assert (await running_gateway.call("POST", "/api/v2/ingest/accounts", data=batch))[0] == 200
    status, body, _ = await running_gateway.call("POST", "/api/v2/ingest/accounts", data=b" " * 9 * 1024 * 1024)
    assert (status, body["reason"]) == (413, "too_large")


async def test_a_service_that_is_slower_than_asked_is_a_504(running_gateway: Gateway) -> None:
    async def wait(_request: Any, _metadata: dict[str, str]) -> notification_pb2.CountUnreadResponse:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets that event")

    running_gateway.services.behaviours["CountUnread"] = wait
    status, body, _ = await running_gateway.call(
        "GET", "/api/v2/notifications/unread-count", headers={"Request-Timeout": "0.2"}
    )
    assert (status, body["reason"]) == (504, "deadline_exceeded")


async def test_who_calls_too_often_is_told_when_to_come_back_and_others_are_not_hindered(start: Start) -> None:
    async with start(TOCSIN_CALLS_PER_SECOND="0.01", TOCSIN_CALLS_AT_ONCE="3") as gateway:

        async def count(_request: Any, _metadata: dict[str, str]) -> notification_pb2.CountUnreadResponse:
            return notification_pb2.CountUnreadResponse(count=2)

        gateway.services.behaviours["CountUnread"] = count
        path = "/api/v2/notifications/unread-count"
        statuses = [(await gateway.call("GET", path))[0] for _ in range(3)]
        status, body, headers = await gateway.call("GET", path)
        assert (statuses, status, body["reason"]) == ([200, 200, 200], 429, "rate_limited")
        assert 0 < int(headers["Retry-After"]) <= 100
        assert (await gateway.call("GET", path, token=gateway.token(user_id=2)))[1] == {"count": "2", "version": "0"}


async def test_browsers_of_allowed_origins_may_call(start: Start) -> None:
    async with start(TOCSIN_CORS_ORIGINS="https://bank.example") as gateway:
        asked = {"Origin": "https://bank.example", "Access-Control-Request-Method": "PATCH"}
        async with gateway.http.options(gateway.url + "/api/v2/alerts/7", headers=asked) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == "https://bank.example"
        asked["Origin"] = "https://evil.example"
        async with gateway.http.options(gateway.url + "/api/v2/alerts/7", headers=asked) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers


async def test_operators_read_all_metrics_and_anybody_the_contract(running_gateway: Gateway) -> None:
    status, page, _ = await running_gateway.call(
        "GET", "/api/v2/admin/metrics", token=running_gateway.token(scopes=(Scope.ADMIN,))
    )
    assert (status, b"tocsin_http_requests_total" in page) == (200, True)
    for path in ("/healthz", "/readyz", "/openapi.json", "/docs"):
        async with running_gateway.http.get(running_gateway.url + path) as answer:
            assert answer.status == 200, path
