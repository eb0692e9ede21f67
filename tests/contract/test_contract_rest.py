"""The running REST API keeps to its own document: no server error, no answer that is not documented."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.acceptance.conftest import OpenTimetable
from tests.acceptance.timetable import Timetable

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
UNHURRIED = {"gateway": {"TOCSIN_CALLS_PER_SECOND": "1000000", "TOCSIN_CALLS_AT_ONCE": "1000000"}}
#: Requests per operation: with a token that may call it, and with each that may not.
MAY, MAY_NOT = 12, 1
#: Reading first: what is deleted cannot be read.
VERBS = ("get", "post", "put", "patch", "delete")
Operation: TypeAlias = APIOperation[Any, Any, Any, Any]
Request: TypeAlias = Case[Any]


@dataclass(frozen=True)
class Thing:
    """Something that is there: what names it in the path, and in the query."""

    path: dict[str, str]
    query: dict[str, str] = field(default_factory=dict)


@dataclass
class Walk:
    """Sends made-up requests to a running gateway and keeps what went wrong. `things` exist, by a path's beginning."""

    base_url: str
    tokens: Mapping[str, str]
    things: Mapping[str, Thing]
    wrong: list[str] = field(default_factory=list)
    statuses: dict[str, Counter[int]] = field(default_factory=dict)

    def all(self, document: dict[str, Any]) -> None:
        """Every operation of the document, with every token."""
        for operation in sorted(operations(document), key=lambda one: VERBS.index(one.method)):
            allowed = scopes(operation)
            for scope, token in self.tokens.items():
                self._some(operation, scope, token, MAY if scope in allowed else MAY_NOT)

    def _some(self, operation: Operation, scope: str, token: str, n: int) -> None:
        # A caller in a hurry gets a 504, which is no fault of ours.
        headers = {"Authorization": f"Bearer {token}", "Request-Timeout": "30"}

        @settings(
            max_examples=n,
            phases=[Phase.generate],
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(self._requests(operation))
        def walk(case: Request) -> None:
            if scope == "user":
                case.headers.pop("Tocsin-User", None)  # a user who acts for another is refused, whatever they ask
            self._one(case, headers)

        walk()

    def _requests(self, operation: Operation) -> st.SearchStrategy[Request]:
        """Requests by the document and against it, about things that are there and about others."""
        made_up = operation.as_strategy(GenerationMode.POSITIVE), operation.as_strategy(GenerationMode.NEGATIVE)
        there = [thing for path, thing in self.things.items() if operation.path.startswith(path)]
        if not there or "{" not in operation.path:
            return st.one_of(made_up)
        thing = there[0]
        return st.one_of(operation.as_strategy(path_parameters=thing.path, query=thing.query or None), *made_up)

    def _one(self, case: Request, headers: dict[str, str]) -> None:
        answer = case.call(base_url=self.base_url, headers=headers)
        self.statuses.setdefault(case.operation.label, Counter())[answer.status_code] += 1
        try:
            case.validate_response(answer, checks=CHECKS)
        except FailureGroup as group:
            self.wrong += [f"{case.operation.label}: {error}" for error in group.exceptions]


def operations(document: dict[str, Any]) -> Iterator[Operation]:
    """Everything that the document says can be called."""
    for result in schemathesis.openapi.from_dict(document).get_all_operations():
        assert isinstance(result, Ok), result
        yield result.ok()


def scopes(operation: Operation) -> set[str]:
    """Whose tokens may call, as the description says."""
    said = str(operation.definition.raw["description"]).rpartition("Scopes: ")[2]
    return set(said.rstrip(".").split(", "))


async def things_of(day: Timetable) -> dict[str, Thing]:
    """One thing of each kind, and its place in the API: an alert has fired and was delivered, a job was done."""
    admin = day.stack.admin_token()
    below = {"account_id": "11", "threshold": "500.00", "currency": "USD", "direction": "below"}
    alert = await day.alert(account_threshold=below, sms_delivery=True)
    await day.post(day.account("480.00"), day.goal("10.00"), day.budget("10.00"), day.bill("2025-11-20"))
    (told,) = await day.inbox()
    deliveries = await day.must("GET", "/api/v2/admin/deliveries", token=admin)
    browser = await day.must("POST", "/api/v2/push-subscriptions", day.stack.push.browser("laptop"))
    endpoint = await day.must("POST", "/api/v2/webhook-endpoints", {"url": day.stack.webhooks.url("mine")})
    job = await day.must("POST", "/api/v2/admin/jobs/trigger", {"type": "scheduler.retention"}, admin)
    return {
        "/api/v2/alerts": Thing({"id": alert}),
        "/api/v2/notifications": Thing({"id": told["id"]}),
        "/api/v2/admin/deliveries": Thing({"id": deliveries["deliveries"][0]["id"]}, {"partner_id": "1"}),
        "/api/v2/admin/jobs": Thing({"id": job["id"]}),
        "/api/v2/push-subscriptions": Thing({"push_subscription_id": browser["id"]}),
        "/api/v2/webhook-endpoints": Thing({"webhook_endpoint_id": endpoint["id"]}),
        "/api/v2/admin/schedules": Thing({"name": "evaluate-bills"}),
    }


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")  # schemathesis' own strategies
async def test_no_request_gets_a_server_error_or_an_answer_that_is_not_documented(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00", settings=UNHURRIED) as day:
        tokens = {
            "user": day.stack.user_token(1),
            "service": day.stack.service_token(),
            "partner": day.stack.partner_token(),
            "admin": day.stack.admin_token(),
        }
        walk = Walk(day.stack.base_url, tokens, await things_of(day))
        await asyncio.to_thread(walk.all, await day.must("GET", "/openapi.json"))
        day.forgive()
    assert not walk.wrong, "\n".join(walk.wrong[:20])
    went_well = [label for label, statuses in walk.statuses.items() if min(statuses) < 300]
    assert len(went_well) > 0.75 * len(walk.statuses) > 30, f"too tame: {walk.statuses}"
