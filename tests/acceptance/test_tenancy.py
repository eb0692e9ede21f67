"""User A reaches nothing of user B's, partner X nothing of partner Y's, even with the same ids at the bank.

The walk goes over every RPC that the contract has, by reflection: a new one without access rights fails it.
"""

from typing import Any

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass

from tests.acceptance.conftest import OpenTimetable
from tests.acceptance.timetable import Timetable
from tocsin.options.v1 import options_pb2
from tocsin_gateway.doors.upstream import server_of
from tocsin_gateway.transcoding.contract import all_services

STRANGER, OTHER_PARTNER = 2, 2
BELOW = {"account_id": "11", "threshold": "500.00", "currency": "USD", "direction": "below"}


def scopes_of(method: Any) -> set[str]:
    access = method.GetOptions().Extensions[options_pb2.access]
    return {options_pb2.Scope.Name(scope).removeprefix("SCOPE_").lower() for scope in access.scopes}


async def called(day: Timetable, method: Any, metadata: tuple[tuple[str, str], ...]) -> grpc.StatusCode:
    """The status of an empty call."""
    rpc = f"/{method.containing_service.full_name}/{method.name}"
    call = day.stack.channels[server_of(rpc)].unary_unary(
        rpc,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    try:
        await call(GetMessageClass(method.input_type)(), metadata=metadata, timeout=10)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def test_every_rpc_refuses_who_has_no_token_or_not_its_scope(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        methods = [method for service in all_services() for method in service.methods]
        assert len(methods) > 40
        tokens = {
            "user": day.stack.as_user(STRANGER),
            "partner": day.stack.as_partner(),
            "service": day.stack.as_service(),
            "admin": day.stack.as_admin(),
        }
        for method in methods:
            allowed = scopes_of(method)
            assert allowed, f"{method.full_name} has no access rights"
            assert await called(day, method, ()) == grpc.StatusCode.UNAUTHENTICATED, method.full_name
            for scope, metadata in tokens.items():
                if scope not in allowed:
                    status = await called(day, method, metadata)
                    assert status == grpc.StatusCode.PERMISSION_DENIED, f"{method.full_name} as {scope}: {status}"


@pytest.mark.parametrize(("user", "partner"), [(STRANGER, 1), (1, OTHER_PARTNER)])
async def test_a_stranger_reads_and_changes_nothing(timetable: OpenTimetable, user: int, partner: int) -> None:
    async with timetable("2025-11-03 09:00") as day:
        alert = await day.alert(account_threshold=BELOW)
        await day.at("09:05", day.account("480.00"))
        await day.want("email: Low balance: Checking", "inbox: Low balance: Checking")
        (told,) = await day.inbox()
        token = day.stack.user_token(user, partner)
        for method, path, body in (
            ("GET", f"/api/v2/alerts/{alert}", None),
            ("PUT", f"/api/v2/alerts/{alert}", {"account_threshold": BELOW}),
            ("PATCH", f"/api/v2/alerts/{alert}", {"active": False}),
            ("DELETE", f"/api/v2/alerts/{alert}", None),
            ("POST", f"/api/v2/alerts/{alert}/evaluate", {}),
            ("GET", f"/api/v2/alerts/{alert}/firings", None),
            ("GET", f"/api/v2/notifications/{told['id']}", None),
            ("PUT", f"/api/v2/notifications/{told['id']}/read", {}),
            ("DELETE", f"/api/v2/notifications/{told['id']}", None),
        ):
            answer = await day.ask(method, path, body, token)
            assert answer.status == 404, f"{method} {path}: {answer.status} {answer.body}"
        assert (await day.must("GET", "/api/v2/alerts", token=token)).get("alerts", []) == []
        assert (await day.must("GET", "/api/v2/notifications", token=token)).get("notifications", []) == []
        await day.must("POST", "/api/v2/notifications:read-all", {}, token)
        assert (await day.must("GET", f"/api/v2/alerts/{alert}"))["active"]
        assert (await day.must("GET", "/api/v2/notifications/unread-count"))["count"] == "1"


async def test_another_partner_s_same_ids_are_other_things(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.alert(account_threshold=BELOW)
        theirs = day.stack.service_token(OTHER_PARTNER)
        posted = day.account("3.00")
        await day.must("POST", "/api/v2/ingest/accounts", {"accounts": [posted.item]}, theirs)
        await day.at("09:30")
        stolen = {**posted.item, "user_id": str(STRANGER)}
        answer = await day.must("POST", "/api/v2/ingest/accounts", {"accounts": [stolen]}, day.stack.service_token())
        assert answer["rejected"][0]["reason"] == "id_belongs_to_another"
        await day.at("10:05")
