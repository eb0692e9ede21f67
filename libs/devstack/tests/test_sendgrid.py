"""The SendGrid simulator: accepts what SendGrid accepts, refuses what it refuses, and calls back as it does."""

import base64
import copy
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sendgrid.helpers.eventwebhook import EventWebhook

from tocsin_devstack.faults import CallbackBehaviour, CallbackFault, CallBehaviour, CallFault, Provider

from .conftest import SendGrid

MAIL: dict[str, Any] = {
    "personalizations": [{"to": [{"email": "pat@example.com"}]}],
    "from": {"email": "alerts@example.com", "name": "Alerts"},
    "subject": "Low balance",
    "content": [{"type": "text/plain", "value": "low"}, {"type": "text/html", "value": "<p>low</p>"}],
    "headers": {"List-Unsubscribe": "<https://example.com/u/1>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
    "custom_args": {"delivery_id": "d-1", "delivery_attempt": "2"},
}


def to(email: str, **changes: object) -> dict[str, Any]:
    return {**copy.deepcopy(MAIL), "personalizations": [{"to": [{"email": email}]}], **changes}


def events_of(sendgrid: SendGrid) -> list[dict[str, Any]]:
    return [event for arrived in sendgrid.receiver.arrived for event in json.loads(arrived.body)]


def is_signed(sendgrid: SendGrid, number: int) -> bool:
    arrived = sendgrid.receiver.arrived[number]
    webhook = EventWebhook(sendgrid.simulator.public_key)
    signature = arrived.headers["X-Twilio-Email-Event-Webhook-Signature"]
    timestamp = arrived.headers["X-Twilio-Email-Event-Webhook-Timestamp"]
    return bool(webhook.verify_signature(arrived.body.decode(), signature, timestamp))


async def test_a_good_mail_is_queued_with_an_id_and_no_body(sendgrid: SendGrid) -> None:
    response = await sendgrid.send(MAIL)
    assert (response.status, await response.read()) == (202, b"")
    (message,) = sendgrid.simulator.account.accepted
    assert message.provider_id == response.headers["X-Message-Id"]
    assert (message.recipient, message.delivery_id, message.attempt) == ("pat@example.com", "d-1", 2)
    assert (message.subject, message.text, message.html) == ("Low balance", "low", "<p>low</p>")
    assert sendgrid.simulator.account.calls_by_delivery == {"d-1": 1}


async def test_events_come_signed_in_an_array_with_flat_arguments(sendgrid: SendGrid) -> None:
    response = await sendgrid.send(MAIL)
    await sendgrid.settle()
    assert [event["event"] for event in events_of(sendgrid)] == ["processed", "delivered"]
    assert all(is_signed(sendgrid, number) for number in range(len(sendgrid.receiver.arrived)))
    assert all(arrived.body.endswith(b"\r\n") for arrived in sendgrid.receiver.arrived)
    for event in events_of(sendgrid):
        assert (event["delivery_id"], event["delivery_attempt"], event["email"]) == ("d-1", "2", "pat@example.com")
        assert event["sg_message_id"].startswith(response.headers["X-Message-Id"] + ".filter")
        assert event["timestamp"] == int(sendgrid.clock.now().timestamp())
    assert len({event["sg_event_id"] for event in events_of(sendgrid)}) == 2


async def test_a_wrong_key_is_401(sendgrid: SendGrid) -> None:
    response = await sendgrid.send(MAIL, key="SG.another")
    assert response.status == 401
    assert await response.json() == {"errors": [{"message": "authorization required", "field": None, "help": None}]}
    assert sendgrid.simulator.account.accepted == []


async def test_sandbox_mode_answers_200_and_sends_nothing(sendgrid: SendGrid) -> None:
    response = await sendgrid.send({**MAIL, "mail_settings": {"sandbox_mode": {"enable": True}}})
    await sendgrid.settle()
    assert response.status == 200
    assert (sendgrid.simulator.account.accepted, sendgrid.receiver.arrived) == ([], [])


REFUSED: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    ("no personalization", lambda mail: mail.update(personalizations=[]), "at least one personalization"),
    ("no recipient", lambda mail: mail.update(personalizations=[{"to": []}]), "to parameter is required"),
    (
        "one address twice",
        lambda mail: mail["personalizations"][0].update(cc=[{"email": "PAT@example.com"}]),
        "should only be included once",
    ),
    (
        "more than 1000 recipients",
        lambda mail: mail.update(
            personalizations=[{"to": [{"email": f"a{n}@x.com"}]} for n in range(1000)]
            + [{"to": [{"email": "b@x.com"}], "cc": [{"email": "c@x.com"}]}]
        ),
        "limit of 1000 total recipients",
    ),
    ("no sender", lambda mail: mail.pop("from"), "`from` object must be provided"),
    ("a sender without an address", lambda mail: mail.update({"from": {"name": "x"}}), "valid email address"),
    ("no subject", lambda mail: mail.pop("subject"), "subject is required"),
    ("CRLF in the subject", lambda mail: mail.update(subject="a\r\nBcc: b"), "CRLF"),
    ("no content", lambda mail: mail.pop("content"), "`content` param is required"),
    ("HTML before text", lambda mail: mail["content"].reverse(), "text/plain needs to be first"),
    ("a charset in the type", lambda mail: mail["content"][0].update(type="text/plain; charset=x"), "Cannot contain"),
    ("a reserved header", lambda mail: mail["headers"].update({"Reply-To": "x"}), "reserved"),
    ("a header with a space", lambda mail: mail["headers"].update({"X A": "x"}), "empty spaces"),
    ("a header that is no string", lambda mail: mail["headers"].update({"X-A": 1}), "headers object must be strings"),
    ("CRLF in a header", lambda mail: mail["headers"].update({"X-A": "a\r\nB: c"}), "CRLF"),
    ("one header twice", lambda mail: mail["headers"].update({"X-A": "1", "x-a": "2"}), "duplicate keys"),
    ("an argument that is no string", lambda mail: mail["custom_args"].update(attempt=2), "must be strings"),
    ("too many arguments", lambda mail: mail["custom_args"].update(x="y" * 10_000), "may not exceed"),
    (
        "sending in four days",
        lambda mail: mail.update(send_at=1762171200 + 4 * 86400),
        "more than 72 hours in advance",
    ),
    (
        "both ways to reply",
        lambda mail: mail.update(reply_to={"email": "a@b.c"}, reply_to_list=[{"email": "a@b.c"}]),
        "cannot be used together",
    ),
]


@pytest.mark.parametrize(("change", "said"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
async def test_a_mail_is_refused_for(sendgrid: SendGrid, change: Callable[[dict[str, Any]], object], said: str) -> None:
    mail = copy.deepcopy(MAIL)
    change(mail)
    response = await sendgrid.send(mail)
    assert response.status == 400
    assert said in json.dumps(await response.json())
    assert sendgrid.simulator.account.accepted == []


OFF_SCHEMA: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("a misspelt key", lambda mail: mail.update(custom_arguments={"a": "b"})),
    ("arguments as a string", lambda mail: mail.update(custom_args="a")),
    ("an address that is none", lambda mail: mail["personalizations"][0].update(to=[{"email": "pat"}])),
    ("eleven categories", lambda mail: mail.update(categories=[str(n) for n in range(11)])),
    ("an empty text", lambda mail: mail["content"][0].update(value="")),
]


@pytest.mark.parametrize("change", [case[1] for case in OFF_SCHEMA], ids=[case[0] for case in OFF_SCHEMA])
@pytest.mark.usefixtures("contracts")
async def test_the_providers_document_refuses(sendgrid: SendGrid, change: Callable[[dict[str, Any]], object]) -> None:
    mail = copy.deepcopy(MAIL)
    change(mail)
    assert (await sendgrid.send(mail)).status == 400


def _example_events(contracts: Path) -> dict[str, dict[str, Any]]:
    examples = json.loads((contracts / "sendgrid_events.json").read_text())
    found: dict[str, dict[str, Any]] = examples["current_docs"]["one_of_each"]
    return found


BY_ADDRESS = {
    "bounce@example.com": ["processed", "bounce"],
    "blocked+7@example.com": ["processed", "blocked"],
    "dropped@example.com": ["dropped"],
    "deferred@example.com": ["processed", "deferred", "delivered"],
    "spamreport@example.com": ["processed", "delivered", "spamreport"],
    "unsubscribe@example.com": ["processed", "delivered", "unsubscribe"],
    "open@example.com": ["processed", "delivered", "open"],
    "silent@example.com": ["processed"],
}


@pytest.mark.parametrize(("address", "wanted"), BY_ADDRESS.items(), ids=BY_ADDRESS)
async def test_an_address_asks_for_its_outcome_in_the_documented_form(
    sendgrid: SendGrid, contracts: Path, address: str, wanted: list[str]
) -> None:
    examples = _example_events(contracts)
    await sendgrid.send(to(address, custom_args={"delivery_id": "d-1"}))
    await sendgrid.settle()
    arrived = events_of(sendgrid)
    assert len(arrived) == len(wanted)
    for event, name in zip(arrived, wanted, strict=True):
        example = examples[name]
        assert event["event"] == example["event"]
        assert event.get("type") == example.get("type")
        for key in ("email", "timestamp", "sg_event_id", "sg_message_id"):
            assert type(event[key]) is type(example[key])
        missing = {"reason", "status", "bounce_classification", "response", "sg_machine_open"} & set(example)
        assert missing <= set(event)


async def test_the_vectors_public_form_of_the_key_is_ours(sendgrid: SendGrid, contracts: Path) -> None:
    vectors = json.loads((contracts / "signature_vectors.json").read_text())["sendgrid_event_webhook"]["vectors"]
    theirs, ours = base64.b64decode(vectors[0]["public_key"]), base64.b64decode(sendgrid.simulator.public_key)
    assert len(ours) == len(theirs)
    assert ours[:26] == theirs[:26], "the SPKI header of a P-256 key"


async def test_an_ordered_status_carries_its_reset_time_and_ends_after_its_times(sendgrid: SendGrid) -> None:
    sendgrid.simulator.faults.order(
        CallFault(
            Provider.SENDGRID, CallBehaviour.STATUS, status=429, reset_in=timedelta(seconds=30), from_call=2, times=1
        )
    )
    statuses = [await sendgrid.send(MAIL) for _ in range(3)]
    assert [response.status for response in statuses] == [202, 429, 202]
    reset = int(statuses[1].headers["X-RateLimit-Reset"])
    assert reset == int(sendgrid.clock.now().timestamp()) + 30
    assert len(sendgrid.simulator.account.accepted) == 2


async def test_an_order_for_one_recipient_leaves_others_alone(sendgrid: SendGrid) -> None:
    sendgrid.simulator.faults.order(
        CallFault(Provider.SENDGRID, CallBehaviour.STATUS, recipient="pat@example.com", status=500)
    )
    assert (await sendgrid.send(to("sam@example.com"))).status == 202
    assert (await sendgrid.send(MAIL)).status == 500


@pytest.mark.parametrize(("behaviour", "accepted"), [(CallBehaviour.RESET_BEFORE, 0), (CallBehaviour.RESET_AFTER, 1)])
async def test_a_reset_breaks_the_connection(sendgrid: SendGrid, behaviour: CallBehaviour, accepted: int) -> None:
    sendgrid.simulator.faults.order(CallFault(Provider.SENDGRID, behaviour))
    with pytest.raises((aiohttp.ClientConnectionError, ConnectionResetError)):
        await sendgrid.send(MAIL)
    assert len(sendgrid.simulator.account.accepted) == accepted


@pytest.mark.parametrize(("behaviour", "accepted"), [(CallBehaviour.HANG_BEFORE, 0), (CallBehaviour.HANG_AFTER, 1)])
async def test_a_hanging_call_is_never_answered(sendgrid: SendGrid, behaviour: CallBehaviour, accepted: int) -> None:
    sendgrid.simulator.faults.order(CallFault(Provider.SENDGRID, behaviour))
    with pytest.raises(TimeoutError):
        await sendgrid.http.post(
            f"{sendgrid.url}/v3/mail/send",
            json=MAIL,
            headers={"Authorization": "Bearer SG.a-key-for-tests"},
            timeout=aiohttp.ClientTimeout(total=2),
        )
    assert len(sendgrid.simulator.account.accepted) == accepted


async def test_garbage_is_accepted_and_no_json(sendgrid: SendGrid) -> None:
    sendgrid.simulator.faults.order(CallFault(Provider.SENDGRID, CallBehaviour.GARBAGE))
    response = await sendgrid.send(MAIL)
    assert response.status == 202
    with pytest.raises(json.JSONDecodeError):
        json.loads(await response.read())
    assert len(sendgrid.simulator.account.accepted) == 1


@pytest.mark.parametrize(
    ("behaviour", "wanted"),
    [
        (CallbackBehaviour.DUPLICATE, ["processed", "processed", "delivered", "delivered"]),
        (CallbackBehaviour.REORDER, ["delivered", "processed"]),
        (CallbackBehaviour.DROP, []),
    ],
)
async def test_callbacks_come_as_ordered(sendgrid: SendGrid, behaviour: CallbackBehaviour, wanted: list[str]) -> None:
    sendgrid.simulator.faults.order(CallbackFault(Provider.SENDGRID, behaviour))
    await sendgrid.send(MAIL)
    await sendgrid.settle()
    assert [event["event"] for event in events_of(sendgrid)] == wanted
    assert len({event["sg_event_id"] for event in events_of(sendgrid)}) == len(set(wanted))


async def test_a_delayed_callback_waits_for_the_clock(sendgrid: SendGrid) -> None:
    sendgrid.simulator.faults.order(
        CallbackFault(Provider.SENDGRID, CallbackBehaviour.DELAY, events=("delivered",), delay=timedelta(minutes=5))
    )
    await sendgrid.send(MAIL)
    await sendgrid.settle()
    assert [event["event"] for event in events_of(sendgrid)] == ["processed"]
    due = sendgrid.activity.next_due()
    assert due == sendgrid.clock.now() + timedelta(minutes=5)
    sendgrid.clock.move_to(due)
    await sendgrid.settle()
    assert [event["event"] for event in events_of(sendgrid)] == ["processed", "delivered"]


async def test_a_forged_callback_does_not_verify_and_comes_once(sendgrid: SendGrid) -> None:
    sendgrid.simulator.faults.order(CallbackFault(Provider.SENDGRID, CallbackBehaviour.FORGE))
    sendgrid.receiver.answers = [403]
    await sendgrid.send(MAIL)
    await sendgrid.settle()
    assert len(sendgrid.receiver.arrived) == 1
    assert not is_signed(sendgrid, 0)
    assert sendgrid.activity.next_due() is None


async def test_events_nobody_took_come_again_until_they_are_taken(sendgrid: SendGrid) -> None:
    sendgrid.receiver.answers = [503, 503]
    await sendgrid.send(MAIL)
    await sendgrid.settle()
    bodies = {json.dumps(json.loads(sendgrid.receiver.arrived[0].body))}
    while (due := sendgrid.activity.next_due()) is not None:
        sendgrid.clock.move_to(due)
        await sendgrid.settle()
        bodies.add(json.dumps(json.loads(sendgrid.receiver.arrived[-1].body)))
    assert len(sendgrid.receiver.arrived) == 3
    assert len(bodies) == 1, "the same events with the same ids"
    assert [answer.status for answer in sendgrid.simulator.answers] == [503, 503, 204]


async def test_another_process_gives_orders_and_reads_the_account_over_http(sendgrid: SendGrid) -> None:
    order = {"provider": "sendgrid", "behaviour": "status", "status": 503, "times": 1, "delay": 0}
    assert (await sendgrid.http.post(f"{sendgrid.url}/_control/faults", json=order)).status == 204
    assert [(await sendgrid.send(MAIL)).status for _ in range(2)] == [503, 202]
    account = await (await sendgrid.http.get(f"{sendgrid.url}/_control/account")).json()
    assert account["calls_by_delivery"] == {"d-1": 1}
    assert account["accepted"][0]["recipient"] == "pat@example.com"
    calls = await (await sendgrid.http.get(f"{sendgrid.url}/_control/calls")).json()
    assert [call["recipient"] for call in calls["calls"]] == 2 * ["pat@example.com"], "the refused one is a call too"
    assert [(one["delivery_id"], one["attempt"]) for one in calls["taken"]] == [("d-1", 2)]
    unknown = await sendgrid.http.post(f"{sendgrid.url}/_control/faults", json={"provider": "nobody"})
    assert unknown.status == 400


async def test_orders_can_be_forgotten_over_http(sendgrid: SendGrid) -> None:
    order = {"provider": "sendgrid", "behaviour": "drop"}
    await sendgrid.http.post(f"{sendgrid.url}/_control/callback-faults", json=[order])
    await sendgrid.http.delete(f"{sendgrid.url}/_control/callback-faults")
    await sendgrid.send(MAIL)
    await sendgrid.settle()
    assert len(events_of(sendgrid)) == 2
