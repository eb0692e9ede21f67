"""The Twilio simulator: creates, lists and fetches messages as Twilio does, signs its callbacks, heeds STOP."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from jsonschema import Draft202012Validator
from twilio.request_validator import RequestValidator

from tocsin_devstack.faults import CallbackBehaviour, CallbackFault, CallBehaviour, CallFault, Provider
from tocsin_devstack.twilio_rules import segments, signature

from .conftest import ACCOUNT_SID, AUTH_TOKEN, Arrived, Twilio

TO, FROM = "+13125550100", "+13125550199"


def form(twilio: Twilio, **changes: str) -> dict[str, str]:
    callback = f"{twilio.receiver.url}/webhooks/twilio/status?delivery_id=d-1&attempt=3"
    return {"To": TO, "From": FROM, "Body": "Low balance", "StatusCallback": callback, **changes}


def fields(arrived: Arrived) -> dict[str, str]:
    return dict(parse_qsl(arrived.body.decode(), keep_blank_values=True))


def is_signed(twilio: Twilio, arrived: Arrived) -> bool:
    url = twilio.receiver.url + arrived.path
    return bool(RequestValidator(AUTH_TOKEN).validate(url, fields(arrived), arrived.headers["X-Twilio-Signature"]))


def statuses(twilio: Twilio) -> list[str]:
    return [fields(arrived)["MessageStatus"] for arrived in twilio.receiver.arrived]


def message_schema(contracts: Path) -> Draft202012Validator:
    document = json.loads((contracts / "twilio_messages.openapi.json").read_text())
    reference = "#/components/schemas/api.v2010.account.message"
    return Draft202012Validator({"$ref": reference, "components": _nullable(document["components"])})


def _nullable(schema: Any) -> Any:
    """OpenAPI 3.0's `nullable` as JSON Schema 2020-12 says it."""
    if isinstance(schema, list):
        return [_nullable(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {key: _nullable(value) for key, value in schema.items() if key != "nullable"}
    if schema.get("nullable") is True and isinstance(schema.get("type"), str):
        changed["type"] = [schema["type"], "null"]
    return changed


async def test_a_message_is_created_queued_in_the_documented_form(twilio: Twilio, contracts: Path) -> None:
    response = await twilio.create(form(twilio))
    message = await response.json()
    assert response.status == 201
    assert (message["status"], message["error_code"], message["num_segments"]) == ("queued", None, "1")
    assert list(message_schema(contracts).iter_errors(message)) == []
    (accepted,) = twilio.simulator.account.accepted
    assert (accepted.recipient, accepted.delivery_id, accepted.attempt) == (TO, "d-1", 3)
    assert accepted.provider_id == message["sid"]
    assert twilio.simulator.account.calls_by_delivery == {"d-1": 1}


async def test_a_messaging_service_answers_accepted(twilio: Twilio) -> None:
    changed = form(twilio, MessagingServiceSid="MG" + "a" * 32)
    del changed["From"]
    response = await twilio.create(changed)
    assert (response.status, (await response.json())["status"]) == (201, "accepted")


async def test_callbacks_say_sent_and_delivered_and_verify_with_twilios_own_check(twilio: Twilio) -> None:
    response = await twilio.create(form(twilio))
    await twilio.settle()
    assert statuses(twilio) == ["sent", "delivered"]
    for arrived in twilio.receiver.arrived:
        assert arrived.path == "/webhooks/twilio/status?delivery_id=d-1&attempt=3"
        assert is_signed(twilio, arrived)
        assert fields(arrived)["AccountSid"] == ACCOUNT_SID
    message = await response.json()
    fetched = await (await twilio.get(f"{twilio.messages}/{message['sid']}.json")).json()
    assert (fetched["status"], fetched["price"]) == ("delivered", "-0.00790")


async def test_a_number_of_our_convention_comes_back_undelivered_with_its_code(twilio: Twilio) -> None:
    response = await twilio.create(form(twilio, To="+15005530005"))
    await twilio.settle()
    assert statuses(twilio) == ["sent", "undelivered"]
    assert fields(twilio.receiver.arrived[1])["ErrorCode"] == "30005"
    sid = (await response.json())["sid"]
    assert (await (await twilio.get(f"{twilio.messages}/{sid}.json")).json())["error_code"] == 30005


async def test_listing_finds_by_number_and_day(twilio: Twilio) -> None:
    await twilio.create(form(twilio))
    await twilio.create(form(twilio, To="+13125550101"))
    today = twilio.clock.now().date()
    url = f"{twilio.messages}.json"
    found = await (await twilio.get(url, To=TO, DateSent=today.isoformat())).json()
    assert [message["to"] for message in found["messages"]] == [TO]
    yesterday = (today - timedelta(days=1)).isoformat()
    assert (await (await twilio.get(url, To=TO, DateSent=yesterday)).json())["messages"] == []
    since = await (await twilio.get(url, **{"DateSent>": yesterday})).json()
    assert len(since["messages"]) == 2


REFUSED = [
    ("no To", {"To": ""}, 21604),
    ("a To that is no number", {"To": "312 555"}, 21211),
    ("no From", {"From": ""}, 21603),
    ("no Body", {"Body": ""}, 21602),
    ("a Body of 1601 characters", {"Body": "x" * 1601}, 21617),
    ("Twilio's invalid number", {"To": "+15005550001"}, 21211),
    ("Twilio's unreachable number", {"To": "+15005550002"}, 21612),
    ("Twilio's number in a forbidden region", {"To": "+15005550003"}, 21408),
    ("Twilio's unsubscribed number", {"To": "+15005550004"}, 21610),
    ("Twilio's landline", {"To": "+15005550009"}, 21614),
]


@pytest.mark.parametrize(("change", "code"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
async def test_a_message_is_refused_for(twilio: Twilio, change: dict[str, str], code: int) -> None:
    changed = {name: value for name, value in form(twilio, **change).items() if value}
    response = await twilio.create(changed)
    answer = await response.json()
    assert (response.status, answer["code"], answer["status"]) == (400, code, 400)
    assert set(answer) == {"code", "message", "more_info", "status"}
    assert twilio.simulator.account.accepted == []


@pytest.mark.parametrize(
    "change",
    [{"Priority": "high"}, {"ValidityPeriod": "40000"}, {"MessagingServiceSid": "MG1"}, {"SmartEncoded": "perhaps"}],
    ids=["an unknown parameter", "too long a validity", "a wrong service id", "a boolean that is none"],
)
@pytest.mark.usefixtures("contracts")
async def test_the_providers_document_refuses(twilio: Twilio, change: dict[str, str]) -> None:
    assert (await twilio.create(form(twilio, **change))).status == 400


async def test_a_wrong_token_is_401_and_another_account_404(twilio: Twilio) -> None:
    denied = await twilio.create(form(twilio), token="another")
    assert (denied.status, (await denied.json())["code"]) == (401, 20003)
    other = await twilio.get(f"{twilio.url}/2010-04-01/Accounts/AC{'1' * 32}/Messages.json")
    assert other.status == 404


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (CallFault(Provider.TWILIO, CallBehaviour.STATUS, status=429, code=20429), 429, 20429),
        (CallFault(Provider.TWILIO, CallBehaviour.STATUS, status=500, code=20500), 500, 20500),
        (CallFault(Provider.TWILIO, CallBehaviour.STATUS, status=400, code=21610), 400, 21610),
    ],
    ids=["throttled", "server error", "unsubscribed"],
)
async def test_an_ordered_error_has_twilios_form(twilio: Twilio, fault: CallFault, status: int, code: int) -> None:
    twilio.simulator.faults.order(fault)
    response = await twilio.create(form(twilio))
    assert (response.status, (await response.json())["code"]) == (status, code)
    assert [call.recipient for call in twilio.simulator.account.calls] == [TO], "what was refused by order was a call"


async def test_stop_is_passed_on_signed_and_refuses_until_start(twilio: Twilio) -> None:
    twilio.simulator.receive(TO, FROM, " stop ")
    await twilio.settle()
    (arrived,) = twilio.receiver.arrived
    assert arrived.path == "/webhooks/twilio/inbound"
    assert is_signed(twilio, arrived), "empty parameters are signed too"
    assert (fields(arrived)["From"], fields(arrived)["OptOutType"]) == (TO, "STOP")
    assert (await (await twilio.create(form(twilio))).json())["code"] == 21610
    twilio.simulator.receive(TO, FROM, "START")
    assert (await twilio.create(form(twilio))).status == 201


async def test_a_person_can_be_made_to_write_over_http(twilio: Twilio) -> None:
    order = {"from": TO, "to": FROM, "body": "STOP"}
    assert (await twilio.http.post(f"{twilio.url}/_control/inbound", json=order)).status == 204
    assert twilio.simulator.opted_out == {TO}


@pytest.mark.parametrize(
    ("behaviour", "wanted"),
    [
        (CallbackBehaviour.DUPLICATE, ["sent", "sent", "delivered", "delivered"]),
        (CallbackBehaviour.REORDER, ["delivered", "sent"]),
        (CallbackBehaviour.DROP, []),
    ],
)
async def test_callbacks_come_as_ordered(twilio: Twilio, behaviour: CallbackBehaviour, wanted: list[str]) -> None:
    twilio.simulator.faults.order(CallbackFault(Provider.TWILIO, behaviour))
    await twilio.create(form(twilio))
    await twilio.settle()
    assert statuses(twilio) == wanted


async def test_an_ordered_outcome_replaces_the_usual_one(twilio: Twilio) -> None:
    twilio.simulator.faults.order(
        CallbackFault(Provider.TWILIO, CallbackBehaviour.OUTCOME, events=("failed",), code=30007)
    )
    await twilio.create(form(twilio))
    await twilio.settle()
    assert [(fields(one)["MessageStatus"], fields(one)["ErrorCode"]) for one in twilio.receiver.arrived] == [
        ("failed", "30007")
    ]


async def test_a_forged_callback_does_not_verify(twilio: Twilio) -> None:
    twilio.simulator.faults.order(CallbackFault(Provider.TWILIO, CallbackBehaviour.FORGE, events=("sent",)))
    await twilio.create(form(twilio))
    await twilio.settle()
    assert [is_signed(twilio, arrived) for arrived in twilio.receiver.arrived] == [False, True]


@pytest.mark.parametrize(("fragment", "calls"), [("", 2), ("#rc=3&rp=5xx", 3), ("#rc=3&rp=4xx", 2)])
async def test_a_refused_callback_is_repeated_only_as_the_url_asks(twilio: Twilio, fragment: str, calls: int) -> None:
    twilio.receiver.answers = [503]
    changed = form(twilio)
    await twilio.create(changed | {"StatusCallback": changed["StatusCallback"] + fragment})
    await twilio.settle()
    while (due := twilio.activity.next_due()) is not None:
        twilio.clock.move_to(due)
        await twilio.settle()
    assert len(twilio.receiver.arrived) == calls
    assert all(is_signed(twilio, arrived) for arrived in twilio.receiver.arrived)


def test_signatures_match_twilios_vectors(contracts: Path) -> None:
    known = json.loads((contracts / "signature_vectors.json").read_text())["twilio_x_twilio_signature"]
    checked = 0
    for vector in known["vectors"]:
        if "params" not in vector or "port" in vector["name"].split():
            continue  # JSON bodies are not sent here; other ports are the checker's tolerance, not the signer's
        ours = signature(known["auth_token"], vector["url"], [(name, value) for name, value in vector["params"]])
        assert (ours == vector["signature"]) is vector["valid"], vector["name"]
        checked += 1
    assert checked >= 4


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("x" * 160, 1),
        ("x" * 161, 2),
        ("x" * 306, 2),
        ("x" * 307, 3),
        ("€" * 80, 1),  # extension characters count two
        ("€" * 81, 2),
        ("\u2019" + "x" * 69, 1),  # one curly quote makes it UCS-2
        ("\u2019" + "x" * 70, 2),
        ("\U0001f600" * 35, 1),  # two UTF-16 units each
        ("\U0001f600" * 36, 2),
    ],
)
def test_segments_are_counted_as_the_standard_says(text: str, count: int) -> None:
    assert segments(text) == count
