"""Bad input over REST: a problem that names the field, never a 500."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.acceptance.conftest import OpenStack
from tocsin_devstack.stack import Stack
from tocsin_gateway.transcoding.contract import all_services
from tocsin_gateway.transcoding.routes import Route, routes_of
from tocsin_kit.clock import SteppedClock

UNHURRIED = {"gateway": {"TOCSIN_CALLS_PER_SECOND": "1000000", "TOCSIN_CALLS_AT_ONCE": "1000000"}}
AT_ONCE = 20

#: A good condition of each kind.
KINDS: dict[str, dict[str, Any]] = {
    "account_threshold": {"account_id": "11", "threshold": "500.00", "currency": "USD", "direction": "below"},
    "goal": {"goal_id": "3", "milestones": [25, 50]},
    "merchant_name": {"merchant_pattern": "Starbucks", "match_type": "contains"},
    "spending_target": {"budget_id": "4", "thresholds": [80]},
    "transaction_limit": {"amount": "250.00", "currency": "USD"},
    "upcoming_bill": {"bill_id": "5", "days_before": 3},
}

#: kind, field, what is wrong with it
BAD_CONDITIONS: list[tuple[str, str, list[Any]]] = [
    ("account_threshold", "account_id", ["0", "-1", "x", None, "9223372036854775808", 1.5, True, {}]),
    ("account_threshold", "threshold", ["", "12.34567", "1e3", "NaN", "abc", "1" * 19, None, 5, []]),
    ("account_threshold", "currency", ["", "usd", "DOLLAR", "XXZ", None, 7]),
    ("account_threshold", "direction", ["", "sideways", "unspecified", 0, 9, None, []]),
    ("account_threshold", "repeat", ["sometimes", 9, True]),
    ("goal", "goal_id", ["0", "x", None]),
    ("goal", "milestones", [[0], [101], [25, 25], ["x"], "25", [None], [*range(1, 101), 1]]),
    ("merchant_name", "merchant_pattern", ["", "   ", "x" * 101, "a\u0000b", None, 5]),
    ("merchant_name", "match_type", ["", "regex", 0, None]),
    ("merchant_name", "frequency", ["hourly", 77]),
    ("spending_target", "budget_id", ["0", "x", None]),
    ("spending_target", "thresholds", [[0], [201], [80, 80], [{}], 80]),
    ("transaction_limit", "amount", ["0", "0.00", "-5", "", "1.23456", "x", None, 5]),
    ("transaction_limit", "currency", ["", "usd", None]),
    ("transaction_limit", "account_id", ["0", "-3", "x"]),
    ("transaction_limit", "direction", ["out", 55]),
    ("upcoming_bill", "bill_id", ["0", "x", None]),
    ("upcoming_bill", "days_before", [-1, 22, "soon", 1.5]),
]
#: Fields that every kind has.
BAD_COMMON: list[tuple[str, list[Any]]] = [
    ("name", ["x" * 101, "a\u0000", 5, []]),
    ("active", ["yes", 1, "true"]),
    ("email_delivery", [0]),
    ("sms_delivery", ["no"]),
    ("critical", ["true"]),
    ("cooldown", ["0s", "299s", "-1s", "6h", 21600, "99999999999s"]),
    ("snoozed_until", ["tomorrow", "2025-13-01T00:00:00Z", 5]),
    ("nonsense", [1]),
    ("goal", [{"goal_id": "3"}]),  # a second kind
]


def bodies() -> list[tuple[dict[str, Any], str]]:
    """Every bad body and the field that has to be named."""
    bad: list[tuple[dict[str, Any], str]] = []
    for kind, field, values in BAD_CONDITIONS:
        bad += [({kind: {**KINDS[kind], field: value}}, f"{kind}.{field}") for value in values]
    for kind, good in KINDS.items():
        bad += [({kind: {**good, "nonsense": 1}}, f"{kind}.nonsense"), ({kind: "x"}, kind)]
    for field, values in BAD_COMMON:
        bad += [({"account_threshold": KINDS["account_threshold"], field: value}, field) for value in values]
    return [*bad, ({"name": "no condition"}, "condition")]


async def test_each_field_of_each_kind_is_named_when_it_is_wrong(open_stack: OpenStack, clock: SteppedClock) -> None:
    async with open_stack(clock, settings=UNHURRIED) as running:
        token = running.user_token(1)
        wrong = []
        for body, field in bodies():
            answer = await running.rest("POST", "/api/v2/alerts", token=token, body=body)
            named = [error["field"] for error in answer.body.get("errors", [])]
            is_problem = answer.headers["Content-Type"] == "application/problem+json"
            if answer.status != 400 or not is_problem or not any(_is_within(one, field) for one in named):
                wrong.append((body, answer.status, answer.body))
        assert not wrong, "\n".join(map(str, wrong))
        for kind, good in KINDS.items():
            assert (await running.rest("POST", "/api/v2/alerts", token=token, body={kind: good})).status == 201, kind


def _is_within(named: str, field: str) -> bool:
    """Whether the name is the field's own, as a path in the request (`alert.goal.milestones[1]`)."""
    return named == f"alert.{field}" or named.startswith((f"alert.{field}[", f"alert.{field}."))


BAD_FACTS = [
    # path, item, the field that is named
    ("accounts", {"id": "x"}, "accounts[0].id"),
    ("accounts", {"balance": 5}, "accounts[0].balance"),
    ("accounts", {"as_of": "now"}, "accounts[0].as_of"),
    ("accounts", {"nonsense": 1}, "accounts[0].nonsense"),
    ("transactions", {"status": "maybe"}, "transactions[0].status"),
    ("transactions", {"posted_on": "2025-11-01", "posted_at": "2025-11-01T00:00:00Z"}, "transactions[0].posted_at"),
    ("goals", {"target_amount": []}, "goals[0].target_amount"),
    ("budgets", {"period": "daily"}, "budgets[0].period"),
    ("bills", {"recurrence": "often"}, "bills[0].recurrence"),
    ("profiles", {"email_verified": "yes"}, "profiles[0].email_verified"),
]


async def test_a_fact_that_cannot_be_read_is_named_with_its_place(open_stack: OpenStack, clock: SteppedClock) -> None:
    async with open_stack(clock, settings=UNHURRIED) as running:
        for path, item, field in BAD_FACTS:
            answer = await running.rest(
                "POST", f"/api/v2/ingest/{path}", token=running.service_token(), body={path: [item]}
            )
            assert answer.status == 400, (path, item, answer)
            assert [error["field"] for error in answer.body["errors"]] == [field], (path, item, answer.body)


#: JSON that is close to what routes want: their own field names, with values of every kind.
NAMES = sorted(
    {
        field.name
        for route in routes_of(all_services())
        for message in (route.request, *(each.message_type for each in route.request.fields if each.message_type))
        for field in message.fields
    }
    | {name for good in KINDS.values() for name in good}
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=30),
    st.sampled_from(["0", "1", "-1", "9223372036854775807", "below", "500.00", "USD", "2025-11-01", "\u0000", "5s"]),
    st.sampled_from(["2025-11-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "0001-01-01T00:00:00Z", "1" * 400]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=8,
)
#: Good items by the path behind /api/v2/ingest/.
FACTS: dict[str, dict[str, Any]] = {
    "accounts": {"id": "11", "user_id": "1", "balance": "5.00", "currency": "USD", "as_of": "2025-11-03T11:00:00Z"},
    "transactions": {
        **{"id": "7", "user_id": "1", "account_id": "11", "amount": "-5.00", "currency": "USD", "merchant": "Shop"},
        "posted_at": "2025-11-03T11:00:00Z",
    },
    "goals": {"id": "3", "user_id": "1", "currency": "USD", "current_amount": "1.00", "target_amount": "2.00"},
    "profiles": {"user_id": "1", "email": "pat@example.com", "time_zone": "America/Chicago", "currency": "USD"},
}
WRITING = [route for route in routes_of(all_services()) if route.body]
ROUTES = {(route.verb, route.path): route for route in WRITING}
ALERT_ROUTES = [ROUTES["post", "/api/v2/alerts"], ROUTES["put", "/api/v2/alerts/{id}"]]


@st.composite
def nearly_good(draw: st.DrawFn, good: dict[str, Any]) -> dict[str, Any]:
    """A good object with at most one thing changed: these pass the first checks and reach the database."""
    name = draw(st.sampled_from([*good, *good, *NAMES]))
    return {**good, name: draw(VALUES)} if draw(st.integers(0, 3)) else good


@st.composite
def alert_requests(draw: st.DrawFn) -> tuple[Route, Any]:
    """Alerts of every kind, nearly good."""
    kind = draw(st.sampled_from(list(KINDS)))
    alert = draw(nearly_good({kind: draw(nearly_good(KINDS[kind])), "name": "One"}))
    return draw(st.sampled_from(ALERT_ROUTES)), alert


@st.composite
def fact_requests(draw: st.DrawFn) -> tuple[Route, Any]:
    """Batches of facts, nearly good."""
    path = draw(st.sampled_from(list(FACTS)))
    items = draw(st.lists(nearly_good(FACTS[path]), min_size=1, max_size=3))
    return ROUTES["post", f"/api/v2/ingest/{path}"], {path: items}


ANYTHING = st.one_of(VALUES, st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5), st.binary(max_size=40))
REQUESTS = st.one_of(alert_requests(), fact_requests(), st.tuples(st.sampled_from(WRITING), ANYTHING))


def requests(n: int) -> list[tuple[Route, bytes]]:
    """`n` requests that hypothesis makes, the same each time."""
    made: list[tuple[Route, bytes]] = []

    @settings(
        max_examples=n,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(REQUESTS)
    def make(request: tuple[Route, Any]) -> None:
        route, body = request
        made.append((route, body if isinstance(body, bytes) else json.dumps(body).encode()))

    make()
    return made


@pytest.mark.timeout(300)
async def test_a_thousand_made_up_bodies_give_no_500(open_stack: OpenStack, clock: SteppedClock) -> None:
    made = requests(1000)
    assert len(made) >= 1000
    async with open_stack(clock, settings=UNHURRIED) as running:
        limit = asyncio.Semaphore(AT_ONCE)

        async def send(route: Route, body: bytes) -> tuple[int, str]:
            async with limit:
                return await _sent(running, route, body)

        answers = await asyncio.gather(*(send(route, body) for route, body in made))
        wrong = [
            (route.verb, route.path, body, answer)
            for (route, body), answer in zip(made, answers, strict=True)
            if answer[0] >= 500
        ]
        assert not wrong, "\n".join(map(str, wrong[:10]))
        statuses = {status for status, _ in answers}
        assert {200, 201, 400} <= statuses, f"too tame: {statuses}"


async def _sent(running: Stack, route: Route, body: bytes) -> tuple[int, str]:
    path = route.path
    for variable in route.variables:
        path = path.replace(f"{{{variable}}}", "1")
    token = running.admin_token() if "/admin/" in path else running.user_token(1)
    token = running.service_token() if "/ingest" in path else token
    token = running.partner_token() if "/partner-settings" in path else token
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    async with running.http.request(route.verb, running.base_url + path, data=body, headers=headers) as answer:
        return answer.status, await answer.text()
