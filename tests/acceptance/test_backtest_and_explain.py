"""Before an alert is saved: what it would have told; after: why it does or does not. And the operators' ledger."""

import csv
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import OpenStack, OpenTimetable
from tests.acceptance.timetable import PARTNER, USER
from tocsin_kit.clock import SteppedClock

LOW = ("email: Low balance: Checking", "inbox: Low balance: Checking")
BELOW_500 = {"account_id": "11", "threshold": "500.00", "currency": "USD", "direction": "below"}
LIMIT = {"transaction_limit": {"amount": "100.00", "currency": "USD"}}
BACKTEST, EVALUATIONS = "/api/v2/alerts:backtest", "/api/v2/admin/evaluations"


async def test_an_explanation_says_when_it_may_fire_again(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        id_ = await day.alert(account_threshold=BELOW_500)
        explain = f"/api/v2/alerts/{id_}/explain"
        quiet = await day.must("GET", explain)
        assert (quiet["would_fire"], quiet["reason"]) == (False, "not_true")
        assert quiet["summary"] == (
            'It does not fire: "beyond" does not hold (balance 2000.00, threshold 500.00, direction below).'
        )
        await day.at("12:40", day.account("480.00"))
        await day.want(*LOW)
        await day.at("12:45")
        told = await day.must("GET", explain)
        assert (told["reason"], told["next_possible_at"]) == ("cooldown", "2025-11-04T00:40:00Z")
        assert told["summary"].endswith("next possible at 2025-11-03 18:40 (America/Chicago).")
        (fact,) = told["facts"]
        assert {clause["name"]: clause["holds"] for clause in fact["clauses"]} == {"open": True, "beyond": True}
        assert fact["clauses"][1]["values"] == {"balance": "480.00", "threshold": "500.00", "direction": "below"}
        assert (fact["currency"], fact["as_of"]) == ("USD", "2025-11-03T18:40:00Z")
        assert [each["reason"] for each in fact["reasons"] if each["applies"]] == ["cooldown"]
        await day.must("PATCH", f"/api/v2/alerts/{id_}", {"active": False})
        assert (await day.must("GET", explain))["reason"] == "inactive"
        for token in (day.stack.user_token(USER + 1), day.stack.user_token(USER, PARTNER + 1)):
            assert (await day.ask("GET", explain, token=token)).status == 404
        assert (await day.ask("GET", "/api/v2/alerts/x/explain")).status == 400


async def test_a_backtest_tells_what_would_have_been_told_and_sends_nothing(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.post(
            day.purchase("150.00", "Bike Shop", posted_at="2025-10-20T15:00:00Z", backfill=True, id="1"),
            day.purchase("99.99", posted_at="2025-10-21T15:00:00Z", backfill=True, id="2"),
            day.purchase("-250.00", "Refunds", posted_at="2025-10-22T15:00:00Z", backfill=True, id="3"),
        )
        tested = await day.must("POST", BACKTEST, {"alert": LIMIT})
        assert tested["alert_type"] == "transaction_limit"
        assert (tested["since"], tested["until"]) == ("2025-08-05T15:00:00Z", "2025-11-03T15:00:00Z")
        counts = {name: tested[name] for name in ("true_count", "firing_count", "message_count", "sms_segments")}
        assert counts == {"true_count": "2", "firing_count": "2", "message_count": "2", "sms_segments": "2"}
        assert [(each["occurrence_key"], each["at"]) for each in tested["firings"]] == [
            ("1:purchase:3", "2025-10-22T15:00:00Z"),
            ("1:purchase:1", "2025-10-20T15:00:00Z"),
        ]
        assert tested["firings"][1]["context"]["transaction_limit"] == {
            "transaction_id": "1",
            "purchase_id": "1",
            "description": "Bike Shop",
            "amount": "-150.00",
            "limit": "100.00",
            "currency": "USD",
            "posted_on": "2025-10-20",
        }
        assert (await day.must("GET", "/api/v2/alerts"))["alerts"] == []
        id_ = await day.alert(**LIMIT)
        saved = await day.must("POST", BACKTEST, {"alert_id": id_, "since": "2025-10-21T00:00:00Z"})
        assert [each["occurrence_key"] for each in saved["firings"]] == ["1:purchase:3"]
        later = {"alert": LIMIT, "until": "2099-01-01T00:00:00Z"}
        assert (await day.must("POST", BACKTEST, later))["until"] == "2025-11-03T15:00:00Z"
        goal = {"alert": {"goal": {"goal_id": "21"}}}
        await day.post(day.goal("10.00"))
        assert "not stored" in (await day.must("POST", BACKTEST, goal))["missing_history"]
        for token in (day.stack.user_token(USER + 1), day.stack.user_token(USER, PARTNER + 1)):
            assert (await day.ask("POST", BACKTEST, {"alert_id": id_}, token)).status == 404
            assert (await day.must("POST", BACKTEST, {"alert": LIMIT}, token))["true_count"] == "0"


#: body, the field that is named
BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "tried"),
    ({"alert": {}}, "alert.condition"),
    ({"alert": LIMIT, "alert_id": "1"}, "alert_id"),  # one of them
    ({"alert": {"transaction_limit": {"amount": "0", "currency": "USD"}}}, "alert.transaction_limit.amount"),
    ({"alert": {"transaction_limit": {"amount": "5", "currency": "XXZ"}}}, "alert.transaction_limit.currency"),
    ({"alert_id": "0"}, "alert_id"),
    ({"alert_id": "x"}, "alert_id"),
    ({"alert": LIMIT, "since": "yesterday"}, "since"),
    ({"alert": LIMIT, "since": "2025-11-03T15:00:00Z"}, "since"),  # as late as `until`
    ({"alert": LIMIT, "since": "2099-01-01T00:00:00Z"}, "since"),
    ({"alert": LIMIT, "since": "2023-11-02T14:59:59Z"}, "since"),  # two years and a day
    ({"alert": LIMIT, "since": "0001-01-01T00:00:00Z"}, "since"),
    ({"alert": LIMIT, "since": "2025-01-02T00:00:00Z", "until": "2025-01-01T00:00:00Z"}, "since"),
    ({"alert": LIMIT, "until": "0001-01-01T00:00:00Z"}, "until"),
    ({"alert": LIMIT, "nonsense": 1}, "nonsense"),
]


async def test_a_bad_backtest_is_refused_by_the_field_that_is_wrong(open_stack: OpenStack, clock: SteppedClock) -> None:
    async with open_stack(clock) as running:
        token = running.user_token(USER)
        for body, field in BAD:
            answer = await running.rest("POST", BACKTEST, token=token, body=body)
            named = [error["field"] for error in answer.body.get("errors", [])]
            assert (answer.status, named) == (400, [field]), (body, answer.body)
        since = {"alert": LIMIT, "since": "2023-11-03T12:00:00Z"}  # two years with a leap day, to the second
        assert (await running.rest("POST", BACKTEST, token=token, body=since)).status == 200
        assert (await running.rest("POST", BACKTEST, token=token, body={"alert_id": "77"})).status == 404


async def test_operators_read_the_ledger(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.alert(account_threshold=BELOW_500)
        await day.at("09:30", day.account("480.00"))
        await day.want(*LOW)
        await day.at("09:31", day.account("470.00"))
        await day.at("10:10")
        admin = day.stack.admin_token()
        query = f"{EVALUATIONS}?alert_type=account_threshold&way=realtime"
        lines = (await day.must("GET", query, token=admin))["lines"]
        assert [(each["minute"], each["evaluated"], each["true_count"], each["fired"]) for each in lines] == [
            ("2025-11-03T15:31:00Z", "1", "1", "0"),
            ("2025-11-03T15:30:00Z", "1", "1", "1"),
        ]
        assert lines[0]["not_fired"] == [{"reason": "cooldown", "count": "1"}]
        swept = (await day.must("GET", f"{EVALUATIONS}?way=sweep&alert_type=account_threshold", token=admin))["lines"]
        assert swept[0]["minute"] == "2025-11-03T16:00:00Z"
        whole = (await day.must("GET", EVALUATIONS, token=admin))["lines"]
        answer = await day.must("GET", f"{EVALUATIONS}?page_size=1", token=admin)
        paged = answer["lines"]
        while page := answer["next_page_token"]:
            answer = await day.must("GET", f"{EVALUATIONS}?page_size=1&page_token={page}", token=admin)
            paged += answer["lines"]
        assert paged == whole
        assert (await day.ask("GET", EVALUATIONS)).status == 403
        refused = {
            "since=2025-11-04T00:00:00Z": "since",
            "since=2025-10-03T00:00:00Z": "since",  # more than 31 days
            "way=carrier_pigeon": "way",
            "page_size=201": "page_size",
            "page_token=x": "page_token",
        }
        for bad, field in refused.items():
            answer = await day.ask("GET", f"{EVALUATIONS}?{bad}", token=admin)
            assert (answer.status, [each["field"] for each in answer.body["errors"]]) == (400, [field]), bad


#: When a real account, a hackerspace's, stood below 500.00 in the two years before 31 August 2015.
DAYS_BELOW = [
    "2013-12-04",
    "2013-12-05",
    "2013-12-12",
    "2014-04-09",
    "2014-04-10",
    "2015-06-01",
    "2015-06-30",
    "2015-07-28",
    "2015-07-29",
    "2015-07-31",
    "2015-08-03",
]


async def test_a_real_account_is_told_of_on_the_days_on_which_it_ran_low(
    timetable: OpenTimetable, pytestconfig: pytest.Config
) -> None:
    file = pytestconfig.rootpath.parent / "shared" / "data" / "sshc_checking" / "transactions.csv"
    if not file.is_file():
        pytest.skip("the real account's file is not there (../shared/data)")
    rows = _rows(file)
    below = {row["date"] for row in rows if row["date"] > "2013-08-31" and Decimal(row["balance_after"]) < 500}
    assert sorted(below) == DAYS_BELOW
    async with timetable("2015-08-31 18:00") as day:
        token = day.stack.service_token(PARTNER)
        await day.post(day.account("0.00", id="12", as_of="2012-01-01T00:00:00Z"))
        for start in range(0, len(rows), 500):
            items = [_transaction(row) for row in rows[start : start + 500]]
            answer = await day.must(
                "POST", "/api/v2/ingest/transactions", {"transactions": items, "backfill": True}, token
            )
            assert answer["accepted"] == len(items), answer
        low = {"alert": {"account_threshold": {**BELOW_500, "account_id": "12"}}, "since": "2013-08-31T23:00:00Z"}
        tested = await day.must("POST", BACKTEST, low)
        assert [each["at"][:10] for each in reversed(tested["firings"])] == DAYS_BELOW
        assert tested["not_fired"] == [{"reason": "cooldown", "count": str(int(tested["true_count"]) - 11)}]
        assert int(tested["sms_segments"]) == 11 + int(tested["repeat_count"])


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return [row for row in csv.DictReader(opened) if row["date"] <= "2015-08-31"]


def _transaction(row: dict[str, str]) -> dict[str, str]:
    return {
        "id": row["seq"],
        "user_id": str(USER),
        "account_id": "12",
        "amount": row["amount"],
        "currency": "USD",
        "description": row["description"],
        "posted_on": row["date"],
        "balance_after": row["balance_after"],
    }
