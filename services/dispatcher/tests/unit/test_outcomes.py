"""The tables of outcomes against every code of the providers' own documents."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tocsin_dispatcher.providers.http import Answer, Exchange, NoAnswer, NotWritten
from tocsin_dispatcher.providers.judging import judged
from tocsin_dispatcher.providers.sendgrid_outcomes import sendgrid_outcome
from tocsin_dispatcher.providers.twilio_codes import CODES
from tocsin_dispatcher.providers.twilio_look_up import listed
from tocsin_dispatcher.providers.twilio_outcomes import twilio_outcome
from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.values import Outcome, OutcomeKind

CONTRACTS = Path(__file__).parents[4].parent / "shared" / "provider-contracts"
K = OutcomeKind
NOON = datetime(2025, 11, 5, 18, 0, tzinfo=UTC)
needs_contracts = pytest.mark.skipif(not CONTRACTS.exists(), reason="the providers' documents are not here")


def contract(name: str) -> Any:
    return json.loads((CONTRACTS / name).read_text()) if CONTRACTS.exists() else {"errors": {}}


def sendgrid_error(status: int, message: str, field: str | None = None, **headers: str) -> Answer:
    body = {"errors": [{"message": message, "field": field, "help": None}]}
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(body).encode())


def twilio_error(status: int, code: int) -> Answer:
    return Answer(status, {}, json.dumps({"code": code, "message": "No", "status": status}).encode())


@needs_contracts
@pytest.mark.parametrize("group", contract("sendgrid_mail_send_errors.json")["errors"])
def test_every_mistake_in_a_mail_is_permanent_and_no_address_fault(group: str) -> None:
    for message in contract("sendgrid_mail_send_errors.json")["errors"][group]:
        outcome = sendgrid_outcome(sendgrid_error(400, message, group))
        assert (outcome.kind, outcome.suppress) == (K.PERMANENT, None)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (202, K.ACCEPTED),
        (200, K.ACCEPTED),
        (301, K.ACCOUNT),
        (400, K.PERMANENT),
        (401, K.ACCOUNT),
        (403, K.ACCOUNT),
        (404, K.PERMANENT),
        (413, K.PERMANENT),
        (418, K.PERMANENT),
        (429, K.THROTTLED),
        (500, K.TRANSIENT),
        (503, K.TRANSIENT),
        (599, K.TRANSIENT),
    ],
)
def test_sendgrids_statuses(status: int, kind: OutcomeKind) -> None:
    assert sendgrid_outcome(Answer(status, {"x-message-id": "abc"}, b"")).kind is kind


def test_sendgrids_id_is_in_a_header() -> None:
    assert sendgrid_outcome(Answer(202, {"x-message-id": "abc"}, b"")).provider_id == "abc"


def test_a_refused_recipient_is_suppressed_and_not_told_in_the_answer() -> None:
    outcome = sendgrid_outcome(
        sendgrid_error(400, "Does not contain a valid address: ann@example.com", "personalizations.0.to.0.email")
    )
    assert outcome.suppress is SuppressionCause.BOUNCED
    assert "ann@" not in outcome.answer


def test_throttling_lasts_until_the_reset() -> None:
    reset = sendgrid_error(429, "too many requests", x_ratelimit_reset=str(int(NOON.timestamp())))
    assert sendgrid_outcome(reset).not_before == NOON


@pytest.mark.parametrize(
    ("told", "wait"),
    [("30", 30), ("0", 0), (" 7 ", 7), ("99999", 86400), ("soon", None), ("-1", None), ("9" * 30, None)],
)
def test_throttling_without_a_reset_lasts_as_long_as_the_answer_says(told: str, wait: int | None) -> None:
    for outcome in (
        sendgrid_outcome(Answer(429, {"retry-after": told}, b"")),
        twilio_outcome(Answer(429, {"retry-after": told}, b'{"code": 20429}')),
    ):
        assert outcome.wait == (None if wait is None else timedelta(seconds=wait))
        assert outcome.dated(NOON).not_before == (None if wait is None else NOON + timedelta(seconds=wait))


def test_a_reset_is_believed_before_a_wait() -> None:
    reset = sendgrid_error(429, "no", x_ratelimit_reset=str(int(NOON.timestamp())), retry_after="30")
    assert sendgrid_outcome(reset).dated(NOON - timedelta(seconds=5)).not_before == NOON


@pytest.mark.parametrize("nonsense", ["", "soon", "9" * 30, "-1e9"])
def test_a_reset_that_is_no_time_is_none(nonsense: str) -> None:
    assert sendgrid_outcome(sendgrid_error(429, "no", x_ratelimit_reset=nonsense)).not_before is None


@pytest.mark.parametrize("body", [b"<html>nginx</html>", b"", b"[]", b'{"errors": 1}', b'{"errors": [1]}', b"\xff"])
def test_garbage_in_a_body_does_not_change_what_the_status_says(body: bytes) -> None:
    assert sendgrid_outcome(Answer(413, {}, body)).kind is K.PERMANENT
    assert twilio_outcome(Answer(400, {}, body)).kind is K.PERMANENT


def test_what_was_not_written_is_tried_again_and_what_was_is_unknown() -> None:
    for judge in (sendgrid_outcome, twilio_outcome):
        assert judge(NotWritten("refused")).kind is K.TRANSIENT
        assert judge(NoAnswer("reset")).kind is K.UNKNOWN


@needs_contracts
def test_every_code_of_twilio_has_a_meaning() -> None:
    told = {error["code"] for error in contract("twilio_errors.json")["errors"]}
    assert told == set(CODES), "the table and Twilio's list differ"


@needs_contracts
@pytest.mark.parametrize("error", contract("twilio_errors.json")["errors"], ids=lambda error: str(error["code"]))
def test_permanent_means_permanent_and_retry_means_retry(error: dict[str, Any]) -> None:
    final = {K.PERMANENT, K.ACCOUNT}  # an account's fault is permanent until a person sees to it
    passing = {K.THROTTLED, K.TRANSIENT, K.UNKNOWN}
    wanted = {"permanent": final, "retry": passing, "ambiguous": {K.UNKNOWN}}
    suggested = (error["OUR_suggestion"] or {}).get("retry")
    assert CODES[error["code"]].kind in wanted.get(str(suggested), set(K))


@pytest.mark.parametrize(
    ("status", "code", "kind", "suppress"),
    [
        (400, 21610, K.PERMANENT, SuppressionCause.STOPPED),
        (400, 21211, K.PERMANENT, SuppressionCause.BOUNCED),
        (400, 21612, K.PERMANENT, None),  # "not currently reachable": the number may be good again tomorrow
        (400, 21617, K.PERMANENT, None),
        (400, 21703, K.PERMANENT, None),  # about this recipient, not about the account
        (400, 21704, K.ACCOUNT, None),
        (429, 20429, K.THROTTLED, None),
        (401, 20003, K.ACCOUNT, None),
        (403, 99999, K.ACCOUNT, None),
        (400, 99999, K.PERMANENT, None),
        (500, 20500, K.UNKNOWN, None),
        (503, 20503, K.UNKNOWN, None),
        (500, 21610, K.UNKNOWN, None),  # after a 5xx nothing is certain
    ],
)
def test_twilios_refusals(status: int, code: int, kind: OutcomeKind, suppress: SuppressionCause | None) -> None:
    outcome = twilio_outcome(twilio_error(status, code))
    assert (outcome.kind, outcome.code, outcome.suppress) == (kind, str(code), suppress)


def test_a_created_message_is_accepted_with_its_sid_and_looked_up_without() -> None:
    assert twilio_outcome(Answer(201, {}, b'{"sid": "SM1"}')).provider_id == "SM1"
    assert twilio_outcome(Answer(201, {}, b"garbage")).kind is K.UNKNOWN


def a_list(*messages: object) -> Answer:
    return Answer(200, {}, json.dumps({"messages": messages}).encode())


def a_message(**changes: object) -> dict[str, object]:
    created = "Wed, 05 Nov 2025 18:00:03 +0000"
    return {"sid": "SM1", "status": "sent", "date_created": created, "body": "Hello", **changes}


@pytest.mark.parametrize(
    ("changes", "kind", "suppress"),
    [
        ({}, K.ACCEPTED, None),
        ({"status": "delivered"}, K.ACCEPTED, None),
        ({"status": "undelivered", "error_code": 30005}, K.PERMANENT, SuppressionCause.BOUNCED),
        ({"status": "failed", "error_code": "21610"}, K.PERMANENT, SuppressionCause.STOPPED),
        ({"status": "undelivered", "error_code": 30003}, K.PERMANENT, None),  # the handset was off
        ({"status": "delivered", "error_code": 30005}, K.ACCEPTED, None),
    ],
)
def test_what_became_of_a_listed_message(
    changes: dict[str, object], kind: OutcomeKind, suppress: SuppressionCause | None
) -> None:
    messages = listed(a_list(a_message(**changes)))
    assert messages is not None
    [made] = messages
    assert (made.provider_id, made.at, made.text) == ("SM1", NOON + timedelta(seconds=3), "Hello")
    assert (made.outcome.kind, made.outcome.suppress, made.outcome.provider_id) == (kind, suppress, "SM1")


@pytest.mark.parametrize(
    "changes",
    [
        {"sid": None},
        {"sid": ["SM1"]},
        {"sid": "SM\0"},
        {"date_created": "never"},
        {"date_created": "Wed, 05 Nov 99999999999999999999 18:00:03 +0000"},
    ],
)
def test_a_listed_message_that_cannot_be_read_is_left_out(changes: dict[str, object]) -> None:
    messages = listed(a_list(7, a_message(**changes), a_message(sid="SM2")))
    assert messages is not None
    assert [made.provider_id for made in messages] == ["SM2"]


@pytest.mark.parametrize("exchange", [Answer(200, {}, b"garbage"), Answer(500, {}, b""), NoAnswer("slow")])
def test_what_is_no_list_says_nothing(exchange: Exchange) -> None:
    assert listed(exchange) is None


@pytest.mark.parametrize("nasty", ["a\0b", "a\ud800b", "x" * 70_000])
def test_whatever_a_provider_answers_can_be_stored(nasty: str) -> None:
    outcomes = [
        sendgrid_outcome(sendgrid_error(400, nasty)),
        sendgrid_outcome(Answer(202, {"x-message-id": nasty}, b"")),
        twilio_outcome(Answer(400, {}, json.dumps({"code": 21617, "message": nasty}).encode())),
        twilio_outcome(Answer(201, {}, json.dumps({"sid": nasty}).encode())),
        *(made.outcome for made in listed(a_list(a_message(status=nasty, error_code=nasty))) or ()),
    ]
    for outcome in outcomes:
        for text in (outcome.answer, outcome.provider_id or "", outcome.code or ""):
            assert "\0" not in text
            assert len(text.encode()) <= 300


def test_a_created_message_whose_sid_is_none_is_looked_up() -> None:
    assert twilio_outcome(Answer(201, {}, b'{"sid": "SM\\u0000"}')).kind is K.UNKNOWN


@pytest.mark.parametrize("nested", [b"[" * 60_000, b'{"a":' * 60_000])
def test_a_body_nested_too_deep_is_no_body(nested: bytes) -> None:
    assert sendgrid_outcome(Answer(400, {}, nested)).kind is K.PERMANENT
    assert twilio_outcome(Answer(400, {}, nested)).kind is K.PERMANENT


def test_an_answer_that_we_cannot_judge_is_an_unknown_outcome() -> None:
    """The message may have been taken."""

    def judge(answer: Answer) -> Outcome:
        raise RecursionError(f"a fault of ours at {answer.status}")

    outcome = judged(judge, Answer(202, {}, b""), UUID(int=1))
    assert outcome == Outcome(K.UNKNOWN, answer="the answer cannot be judged: RecursionError")
