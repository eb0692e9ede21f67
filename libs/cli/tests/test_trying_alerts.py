"""`tocsin explain`, `tocsin backtest` and `tocsin evaluations`."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tocsin.alerts.v1 import alert_pb2, evaluation_pb2
from tocsin.types.v1 import types_pb2
from tocsin_kit.clock import SystemClock
from tocsin_kit.rpc.caller import Scope
from tocsin_kit.rpc.errors import Reason, TocsinError, not_found

from .conftest import BANK_KEY, Services

Run = Callable[..., Any]


def at(hour: int) -> Timestamp:
    """An hour of 3 November 2025."""
    stamp = Timestamp()
    stamp.FromDatetime(datetime(2025, 11, 3, hour, tzinfo=UTC))
    return stamp


EXPLAINED = alert_pb2.ExplainAlertResponse(
    summary="It is true and does not fire: its cooldown is not over.",
    reason=alert_pb2.NOT_FIRED_REASON_COOLDOWN,
    active=True,
    next_possible_at=at(18),
    currency="USD",
    time_zone="America/Chicago",
    facts=[
        alert_pb2.ExplainedFact(
            fact_id=11,
            currency="USD",
            as_of=at(12),
            clauses=[alert_pb2.ExplainedClause(name="beyond", holds=True, values={"balance": "480.00"})],
            reasons=[
                alert_pb2.ExplainedReason(reason=alert_pb2.NOT_FIRED_REASON_STALE, applies=False),
                alert_pb2.ExplainedReason(reason=alert_pb2.NOT_FIRED_REASON_COOLDOWN, applies=True),
            ],
            occurrences=[
                alert_pb2.ExplainedOccurrence(
                    key="1:milestone:75", percent=75, reached=True, recorded=True, fired=True, recorded_at=at(9)
                )
            ],
            reason=alert_pb2.NOT_FIRED_REASON_COOLDOWN,
        )
    ],
)
TESTED = alert_pb2.BacktestAlertResponse(
    alert_type=types_pb2.ALERT_TYPE_ACCOUNT_THRESHOLD,
    since=at(1),
    until=at(20),
    firings=[
        alert_pb2.BacktestFiring(
            at=at(12),
            occurrence_key="1:at:x",
            context=types_pb2.FiringContext(
                account_threshold=types_pb2.AccountThresholdContext(
                    account_id=11, balance="480.00", direction=types_pb2.THRESHOLD_DIRECTION_BELOW, as_of=at(12)
                )
            ),
            repeats=3,
        )
    ],
    true_count=5,
    firing_count=1,
    repeat_count=3,
    message_count=4,
    not_fired=[alert_pb2.NotFiredCount(reason=alert_pb2.NOT_FIRED_REASON_COOLDOWN, count=4)],
    sms_segments=4,
    notes=["Balances are known where a transaction told them."],
)


def test_an_alert_is_explained_as_its_bank_for_its_user(bank: Run, services: Services) -> None:
    services.answers["ExplainAlert"] = EXPLAINED
    result = bank("explain", "12", "--user", "1")
    assert result.exit_code == 0, result.output
    for text in (
        "It is true and does not fire: its cooldown is not over.",
        "2025-11-03 18:00:00Z",
        "fact 11, USD, as of 2025-11-03 12:00:00Z: cooldown",
        "balance 480.00",
        "1:milestone:75",
        "told 2025-11-03 09:00:00Z",
    ):
        assert text in result.stdout, result.stdout
    assert "stale" not in result.stdout, "what does not apply is no reason"
    assert services.asked == [alert_pb2.ExplainAlertRequest(id=12)]
    assert (services.callers[0].partner_id, services.callers[0].user_id) == (7, 1)


def test_an_explanation_in_json_holds_every_field(bank: Run, services: Services) -> None:
    services.answers["ExplainAlert"] = EXPLAINED
    answer = json.loads(bank("explain", "12", "--user", "1", "--json").stdout)
    assert answer["would_fire"] is False
    assert answer["facts"][0]["clauses"] == [{"name": "beyond", "holds": True, "values": {"balance": "480.00"}}]


def test_a_crossing_and_a_fact_that_is_missing_are_told(bank: Run, services: Services) -> None:
    crossing = alert_pb2.ExplainedCrossing(armed=False, seen_version=2, account_version=3)
    services.answers["ExplainAlert"] = alert_pb2.ExplainAlertResponse(summary="No such account.", crossing=crossing)
    told = bank("explain", "12", "--user", "1").stdout
    assert "not armed, seen version 2 of 3" in told
    assert "fact" not in told


def test_a_backtest_is_told_in_numbers_and_by_firing(bank: Run, services: Services) -> None:
    services.answers["BacktestAlert"] = TESTED
    result = bank("backtest", "12", "--user", "1", "--since", "2025-11-03T01:00Z", "--until", "2025-11-03T20:00Z")
    assert result.exit_code == 0, result.output
    for text in (
        "account threshold, 2025-11-03 01:00:00Z to 2025-11-03 20:00:00Z",
        "5 times true; 1 firings, told again 3 times: 4 messages; 4 SMS segments if all were texted",
        "not fired: 4 cooldown",
        "balance 480.00, direction below, as of 2025-11-03 12:00:00Z",
        "note: Balances are known where a transaction told them.",
    ):
        assert text in result.stdout, result.stdout
    assert services.asked == [alert_pb2.BacktestAlertRequest(alert_id=12, since=at(1), until=at(20))]
    assert json.loads(bank("backtest", "12", "--user", "1", "--json").stdout)["firing_count"] == "1"


BELOW = alert_pb2.AccountThresholdCondition(
    account_id=11,
    threshold="500",
    currency="USD",
    direction=types_pb2.THRESHOLD_DIRECTION_BELOW,
    repeat=alert_pb2.THRESHOLD_REPEAT_WHILE_TRUE,
)
OVER = alert_pb2.TransactionLimitCondition(amount="100", currency="EUR", account_id=11)
CONTAINS = alert_pb2.MerchantNameCondition(merchant_pattern="shop", match_type=alert_pb2.MERCHANT_MATCH_CONTAINS)


@pytest.mark.parametrize(
    ("arguments", "alert"),
    [
        (("--account", "11", "--below", "500"), alert_pb2.Alert(account_threshold=BELOW)),
        (("--account", "11", "--over", "100", "--currency", "EUR"), alert_pb2.Alert(transaction_limit=OVER)),
        (("--merchant", "shop"), alert_pb2.Alert(merchant_name=CONTAINS)),
        (
            ("--budget", "31"),
            alert_pb2.Alert(spending_target=alert_pb2.SpendingTargetCondition(budget_id=31)),
        ),
        (("--bill", "41"), alert_pb2.Alert(upcoming_bill=alert_pb2.UpcomingBillCondition(bill_id=41))),
    ],
)
def test_an_alert_that_is_not_saved_is_said_by_options(
    bank: Run, services: Services, arguments: tuple[str, ...], alert: alert_pb2.Alert
) -> None:
    result = bank("backtest", *arguments, "--user", "1")
    assert result.exit_code == 0, result.output
    assert services.asked == [alert_pb2.BacktestAlertRequest(alert=alert)]


def test_a_threshold_above_fires_once_per_crossing_where_that_is_said(bank: Run, services: Services) -> None:
    assert bank("backtest", "--account", "11", "--above", "9", "--on-crossing", "--user", "1").exit_code == 0
    condition = services.asked[0].alert.account_threshold
    assert condition.direction == types_pb2.THRESHOLD_DIRECTION_ABOVE
    assert condition.repeat == alert_pb2.THRESHOLD_REPEAT_ON_CROSSING


@pytest.mark.parametrize("typed", [False, True])
def test_an_alert_is_read_as_rest_takes_it(bank: Run, services: Services, tmp_path: Path, typed: bool) -> None:
    body = {
        "account_threshold": {"account_id": "11", "threshold": "500", "currency": "USD", "direction": "below"},
        "cooldown": "600s",
    }
    (tmp_path / "alert.json").write_text(json.dumps(body))
    source = ("-",) if typed else ("alert.json",)
    result = bank("backtest", "--alert-json", *source, "--user", "1", typed=json.dumps(body))
    assert result.exit_code == 0, result.output
    alert = services.asked[0].alert
    assert alert.account_threshold.direction == types_pb2.THRESHOLD_DIRECTION_BELOW
    assert alert.cooldown.ToTimedelta() == timedelta(minutes=10)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("12", "--below", "5", "--account", "11"),
        ("--merchant", "a", "--over", "5"),
        ("--below", "5"),
        ("--alert-json", "missing.json"),
        ("--alert-json", "bad.json"),
        ("--alert-json", "other.json"),
        ("--over", "5", "--since", "yesterday"),
        ("--merchant", "a", "--on-crossing"),
        ("--merchant", "a", "--account", "11"),
    ],
)
def test_what_is_no_alert_or_several_is_refused_before_anything_is_asked(
    bank: Run, services: Services, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "other.json").write_text('{"account_threshold": {"direction": "sideways"}}')
    result = bank("backtest", *arguments, "--user", "1")
    assert result.exit_code == 2, result.output
    assert services.asked == []


def test_what_the_past_does_not_hold_is_said(bank: Run, services: Services) -> None:
    services.answers["BacktestAlert"] = alert_pb2.BacktestAlertResponse(missing_history="goals are not stored")
    told = bank("backtest", "12", "--user", "1").stdout
    assert "the past cannot be evaluated: goals are not stored" in told
    services.answers["BacktestAlert"] = alert_pb2.BacktestAlertResponse()
    assert "nothing would have been told" in bank("backtest", "12", "--user", "1").stdout


def test_refusals_are_told_in_words(bank: Run, services: Services) -> None:
    services.answers["ExplainAlert"] = not_found("alert")
    services.answers["BacktestAlert"] = TocsinError("choose a shorter window", Reason.TOO_LARGE)
    for command, words in (("explain", "not_found: alert not found"), ("backtest", "too_large: choose a shorter")):
        result = bank(command, "12", "--user", "1")
        assert (result.exit_code, words in result.stderr) == (1, True), result.output


def test_in_dev_a_bank_and_a_user_are_enough_and_both_are_needed(tocsin: Run, services: Services) -> None:
    environment = {
        "TOCSIN_ENV": "dev",
        "TOCSIN_JWT_SECRET": BANK_KEY,
        "TOCSIN_EVALUATOR_TARGET": f"127.0.0.1:{services.port}",
    }
    assert tocsin("explain", "12", "--user", "1", "--partner", "9", **environment).exit_code == 0
    assert (services.callers[0].partner_id, services.callers[0].scopes) == (9, frozenset({Scope.SERVICE}))
    assert tocsin("explain", "12", "--user", "1", **environment).exit_code == 2
    assert tocsin("explain", "12", "--partner", "9", **environment).exit_code == 2
    assert len(services.asked) == 1


def test_evaluations_are_listed_as_an_operator(operator: Run, services: Services) -> None:
    line = evaluation_pb2.EvaluationLedgerLine(
        minute=at(9),
        alert_type=types_pb2.ALERT_TYPE_GOAL,
        way=evaluation_pb2.EVALUATION_WAY_SWEEP,
        evaluated=100,
        true_count=9,
        fired=2,
        not_fired=[alert_pb2.NotFiredCount(reason=alert_pb2.NOT_FIRED_REASON_ALREADY_SENT, count=7)],
    )
    services.answers["GetEvaluationLedger"] = evaluation_pb2.GetEvaluationLedgerResponse(
        lines=[line], next_page_token="more"
    )
    since = ("--since", "2025-11-03T08:00Z", "--until", "2025-11-03T10:00Z")
    result = operator("evaluations", *since, "--kind", "goal", "--way", "sweep", "--limit", "1")
    assert result.exit_code == 0, result.output
    for text in ("2025-11-03 09:00:00Z", "goal", "sweep", "100", "7 already_sent", "there are more"):
        assert text in result.stdout
    assert services.asked == [
        evaluation_pb2.GetEvaluationLedgerRequest(
            since=at(8),
            until=at(10),
            alert_type=types_pb2.ALERT_TYPE_GOAL,
            way=evaluation_pb2.EVALUATION_WAY_SWEEP,
            page_size=1,
        )
    ]
    assert services.callers[0].scopes == {Scope.ADMIN}
    services.answers.clear()
    before = SystemClock().now() - timedelta(hours=1)
    assert operator("evaluations").stdout.strip() == "no evaluations"
    assert abs(services.asked[-1].since.ToDatetime(UTC) - before) < timedelta(minutes=1)
    assert operator("evaluations", "--way", "carrier_pigeon").exit_code == 2
