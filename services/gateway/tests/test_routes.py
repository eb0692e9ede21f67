"""Which RPC a verb and path call."""

import pytest

from tocsin_gateway.transcoding.contract import all_services
from tocsin_gateway.transcoding.routes import NoSuchPath, NoSuchVerb, RouteTable, routes_of

TABLE = RouteTable(routes_of(all_services()))

FOUND = [
    # verb, path, RPC, variables
    ("get", "/api/v2/alerts", "ListAlerts", {}),
    ("post", "/api/v2/alerts", "CreateAlert", {}),
    ("patch", "/api/v2/alerts/7", "UpdateAlert", {"id": "7"}),
    ("put", "/api/v2/alerts/7", "UpdateAlert", {"id": "7"}),
    ("post", "/api/v2/alerts/7/evaluate", "EvaluateAlert", {"id": "7"}),
    # a literal wins over the variable beside it
    ("get", "/api/v2/notifications/unread-count", "CountUnread", {}),
    ("get", "/api/v2/admin/jobs/status", "ListJobs", {}),
    # and where its verb does not fit, the variable is tried
    ("delete", "/api/v2/notifications/unread-count", "DeleteNotification", {"id": "unread-count"}),
    # custom verbs
    ("post", "/api/v2/notifications:read-all", "MarkAllRead", {}),
    ("post", "/api/v2/admin/jobs/0190:cancel", "CancelJob", {"id": "0190"}),
    ("post", "/api/v2/admin/schedules/evaluate-bills:pause", "PauseSchedule", {"name": "evaluate-bills"}),
    # percent-encoding belongs to the segment
    ("post", "/api/v2/admin/circuit-breakers/push.https%3A%2F%2Fp.example:reset", "ResetCircuitBreaker", ...),
    ("post", "/api/v2/admin/schedules/caf%C3%A9:run", "RunSchedule", {"name": "café"}),
]


@pytest.mark.parametrize(("verb", "path", "rpc", "variables"), FOUND)
def test_a_verb_and_path_call_an_rpc(verb: str, path: str, rpc: str, variables: object) -> None:
    match = TABLE.match(verb, path)
    wanted = {"id": "push.https://p.example"} if variables is ... else variables
    assert (match.route.method.name, match.variables) == (rpc, wanted)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v2/alert",
        "/api/v2/alerts/",
        "/api/v2/alerts/7/",
        "/api/v2/alerts/7:8",  # a variable never matches a colon
        "/api/v2/admin/jobs/1:2:cancel",
        "/api/v2/admin/jobs/1:",
        "/api/v2/admin:x/jobs/1",
        "/api/v2/alerts/%FF",  # no UTF-8
        "/",
        "",
    ],
)
def test_other_paths_are_not_found(path: str) -> None:
    with pytest.raises(NoSuchPath):
        TABLE.match("get", path)


def test_another_verb_is_told_which_there_are() -> None:
    with pytest.raises(NoSuchVerb) as refused:
        TABLE.match("post", "/api/v2/alerts/7")
    assert refused.value.allowed == ("DELETE", "GET", "PATCH", "PUT")


STATUSES = {"CreateAlert": 201, "DeleteAlert": 204, "UpdateAlert": 200, "ListAlerts": 200, "PutAccounts": 200}


@pytest.mark.parametrize("rpc", STATUSES)
def test_the_status_follows_from_the_name_and_the_response(rpc: str) -> None:
    found = {route.success_status for route in TABLE.routes if route.method.name == rpc}
    assert found == {STATUSES[rpc]}
