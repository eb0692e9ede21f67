"""Callbacks as the providers send them, each example event included."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.receipts.parse import Callback, receipts_of
from tocsin_dispatcher.receipts.sendgrid import MEANINGS
from tocsin_dispatcher.receipts.twilio import STATUSES
from tocsin_dispatcher.receipts.unreadable import Unreadable
from tocsin_dispatcher.unsubscribe import UnsubscribeLinks
from tocsin_dispatcher.values import AlertKind, Channel, KindSwitch, Receipt, ReceiptEffect

CONTRACTS = Path(__file__).parents[4].parent / "shared" / "provider-contracts"
needs_contracts = pytest.mark.skipif(not CONTRACTS.exists(), reason="the providers' documents are not here")
NOON = datetime(2025, 11, 5, 18, 0, tzinfo=UTC)
DELIVERY = "01935f4e-0000-7000-8000-000000000002"
LINKS = UnsubscribeLinks({"1": b"key"}, "https://bank.example")
E, C = ReceiptEffect, SuppressionCause


def contract(name: str) -> Any:
    empty = {"current_docs": {"one_of_each": {}}, "docs_2021": {"events": []}, "enum_status_official": []}
    return json.loads((CONTRACTS / name).read_text()) if CONTRACTS.exists() else empty


def read(provider: str, body: bytes, url: str = "/") -> list[Receipt | Unreadable]:
    return list(receipts_of(Callback("callback", provider, NOON, url, body), LINKS))


def sendgrid(*events: object) -> list[Receipt | Unreadable]:
    return read("sendgrid", json.dumps(events).encode() + b"\r\n")


def one(receipts: list[Receipt | Unreadable]) -> Receipt:
    [receipt] = receipts
    assert isinstance(receipt, Receipt), receipt
    return receipt


WANTED = {
    "bounce": (E.BOUNCED, C.BOUNCED),
    "blocked": (E.FAILED, None),
    "delivered": (E.DELIVERED, None),
    "deferred": (E.SENT, None),
    "dropped": (E.FAILED, C.BOUNCED),
    "processed": (E.SENT, None),
    "click": (E.CLICKED, None),
    "open": (E.OPENED, None),
    "spamreport": (E.NOTED, C.COMPLAINED),
    "unsubscribe": (E.NOTED, C.UNSUBSCRIBED),
    "group_unsubscribe": (E.NOTED, C.UNSUBSCRIBED),
    "group_resubscribe": (E.NOTED, None),
    "account_status_change": (E.NOTED, None),
}


@needs_contracts
@pytest.mark.parametrize("name", contract("sendgrid_events.json")["current_docs"]["one_of_each"])
def test_each_of_sendgrids_events(name: str) -> None:
    receipt = one(sendgrid(contract("sendgrid_events.json")["current_docs"]["one_of_each"][name]))
    assert (receipt.effect, receipt.suppress) == WANTED[name]
    assert receipt.message_id is None or not receipt.message_id.startswith(" ")


@needs_contracts
def test_all_older_examples_are_read_in_one_batch() -> None:
    events = contract("sendgrid_events.json")["docs_2021"]["events"]
    receipts = sendgrid(*events)
    assert len(receipts) == len(events)
    assert all(isinstance(receipt, Receipt) for receipt in receipts)


@needs_contracts
def test_no_event_of_the_documents_is_unknown_to_us() -> None:
    table = contract("sendgrid_events.json")["current_docs"]["expected_properties_table"]
    assert set(table["event"]) | {"spamreport"} <= set(MEANINGS)


def test_our_ids_come_back_flat_and_match_first() -> None:
    event = {
        "event": "deferred",
        "attempt": "5",
        "delivery_id": DELIVERY,
        "delivery_attempt": "2",
        "partner_id": "1",
        "sg_event_id": "x",
        "sg_message_id": "abc.filter.0",
        "timestamp": 1762365600,
    }
    receipt = one(sendgrid(event))
    assert (receipt.delivery_id, receipt.attempt, receipt.partner_id) == (UUID(DELIVERY), 2, 1)
    assert (receipt.message_id, receipt.at) == ("abc.filter.0", NOON)


def test_a_bounce_and_a_block_with_one_id_are_two_events() -> None:
    bounce = {"event": "bounce", "type": "bounce", "sg_event_id": "x"}
    keys = {
        receipt.event_key for receipt in sendgrid(bounce, {**bounce, "type": "blocked"}) if isinstance(receipt, Receipt)
    }
    assert len(keys) == 2


def test_event_ids_are_case_sensitive_and_the_same_event_has_the_same_key() -> None:
    keys = [
        r.event_key for r in sendgrid(*({"event": "open", "sg_event_id": i} for i in "aAa")) if isinstance(r, Receipt)
    ]
    assert keys[0] == keys[2] != keys[1]


def test_a_machines_opening_is_told_from_a_persons() -> None:
    """Only what says that it was a machine's is one."""
    assert one(sendgrid({"event": "open", "sg_machine_open": True})).effect is E.OPENED_BY_MACHINE
    for person in ({}, {"sg_machine_open": False}, {"sg_machine_open": "true"}):
        assert one(sendgrid({"event": "open", **person})).effect is E.OPENED, person


def test_who_joins_a_group_again_takes_back_leaving_it_and_nothing_else() -> None:
    """An unsubscription from everything is taken back at SendGrid by its own people only, who send no event."""
    receipt = one(sendgrid({"event": "group_resubscribe", "email": "a@b.com"}))
    assert (receipt.lift, receipt.lift_only_of) == (C.UNSUBSCRIBED, "group_unsubscribe")


@needs_contracts
@pytest.mark.parametrize("name", contract("sendgrid_events.json")["current_docs"]["one_of_each"])
def test_each_event_keeps_what_sendgrid_calls_it(name: str) -> None:
    """A timeline is told by it."""
    event = contract("sendgrid_events.json")["current_docs"]["one_of_each"][name]
    assert one(sendgrid(event)).name == event["event"]


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("Bounced Address", C.BOUNCED),
        ("Invalid", C.BOUNCED),
        ("Unsubscribed Address", C.UNSUBSCRIBED),
        ("Spam Reporting Address", C.COMPLAINED),
        ("Invalid SMTPAPI header", None),
        ("Spam Content (if Spam Checker app is enabled)", None),
        ("Recipient List over Package Quota", None),
    ],
)
def test_a_drop_blames_the_address_where_its_reason_does(reason: str, cause: SuppressionCause | None) -> None:
    """The reasons of SendGrid's page on drops."""
    receipt = one(sendgrid({"event": "dropped", "reason": reason, "email": "a@b.com"}))
    assert (receipt.effect, receipt.suppress) == (E.FAILED, cause)


def test_an_asynchronous_bounce_has_our_ids_alone() -> None:
    """It comes without a message id, after the mail was delivered."""
    ours = {"delivery_id": DELIVERY, "delivery_attempt": "1", "partner_id": "7"}
    receipt = one(sendgrid({"event": "bounce", "type": "bounce", "email": "a@b.com", "sg_event_id": "x", **ours}))
    assert (receipt.message_id, receipt.delivery_id, receipt.partner_id) == (None, UUID(DELIVERY), 7)
    assert (receipt.effect, receipt.suppress) == (E.BOUNCED, C.BOUNCED)


def test_a_drop_for_its_content_blames_no_address() -> None:
    assert one(sendgrid({"event": "dropped", "reason": "Spam Content", "email": "a@b.com"})).suppress is None


def test_one_bad_event_does_not_cost_the_others() -> None:
    receipts = sendgrid({"event": "delivered"}, 7, {"no": "event"}, {"event": "from the future", "timestamp": 1e99})
    assert [type(receipt) for receipt in receipts] == [Receipt, Unreadable, Unreadable, Receipt]


def test_an_answer_of_a_mail_server_is_kept_without_the_address() -> None:
    receipt = one(sendgrid({"event": "bounce", "reason": "550 <ann@example.com> unknown"}))
    assert "ann@" not in receipt.detail


@given(st.binary(max_size=200))
def test_no_bytes_break_a_reader(body: bytes) -> None:
    for provider in ("sendgrid", "twilio-status", "twilio-inbound", "unsubscribe", "unheard-of"):
        assert read(provider, body) is not None


NASTY = st.text(st.characters(categories=("L", "Nd", "P", "Cc", "Cs")))  # NUL and lone surrogates among them
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | NASTY,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
FIELDS = st.sampled_from(
    [
        "event",
        "timestamp",
        "delivery_id",
        "delivery_attempt",
        "partner_id",
        "sg_event_id",
        "sg_message_id",
        "email",
        "type",
        "reason",
        "status",
    ]
)


def assert_storable(receipt: Receipt | Unreadable) -> None:
    """Every text and number of it fits its column, and its key an index."""
    if isinstance(receipt, Unreadable):
        return
    texts = (receipt.event_key, receipt.message_id, receipt.address, receipt.code, receipt.detail)
    for text in filter(None, texts):
        assert "\0" not in text
        assert len(text) <= 300
        text.encode()
    assert 0 <= (receipt.partner_id or 0) < 2**63
    assert 0 <= (receipt.attempt or 0) < 2**31


@given(st.dictionaries(FIELDS, JSON), NASTY)
@example({"partner_id": 10**30, "delivery_attempt": "9" * 5000}, "delivered")
@example({"sg_event_id": "x" * 5000, "status": "\0", "email": "a\0b@example.com"}, "bounce")
@example({"reason": "\ud800", "sg_message_id": "\udfff"}, "dropped")
def test_no_event_breaks_the_reader(event: dict[str, object], name: str) -> None:
    [receipt] = sendgrid({**event, "event": name})
    assert_storable(receipt)


@given(st.dictionaries(st.sampled_from(["MessageSid", "MessageStatus", "ErrorCode", "To"]), st.text(), min_size=1))
@example({"MessageSid": "SM\0", "MessageStatus": "x" * 5000, "ErrorCode": "9" * 5000, "To": "+1\0"})
def test_no_status_callback_breaks_the_reader(form: dict[str, str]) -> None:
    url = "/?" + urlencode({"partner_id": "9" * 5000, "attempt": 2**31})
    for receipt in read("twilio-status", urlencode(form).encode(), url):
        assert_storable(receipt)


def test_an_array_nested_too_deep_is_unreadable() -> None:
    [unreadable] = read("sendgrid", b"[" * 100_000)
    assert isinstance(unreadable, Unreadable)


def status(url: str = "/", **parameters: str) -> Receipt:
    form = {"MessageSid": "SM1", "SmsSid": "SM1", "AccountSid": "AC1", "To": "+13125550100", **parameters}
    return one(read("twilio-status", urlencode(form).encode(), url))


@needs_contracts
def test_every_status_of_twilio_has_a_meaning() -> None:
    assert set(contract("twilio_status_callback.json")["enum_status_official"]) <= set(STATUSES)


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        ("queued", E.SENT),
        ("sent", E.SENT),
        ("delivered", E.DELIVERED),
        ("undelivered", E.FAILED),
        ("failed", E.FAILED),
        ("a new one", E.NOTED),
    ],
)
def test_twilios_statuses(name: str, effect: ReceiptEffect) -> None:
    receipt = status(MessageStatus=name)
    assert (receipt.effect, receipt.event_key, receipt.message_id) == (effect, f"SM1:{name}", "SM1")


@needs_contracts
def test_twilios_own_example_is_read() -> None:
    example = contract("twilio_status_callback.json")["official_example_sent"]
    assert one(read("twilio-status", urlencode(example).encode())).effect is E.SENT


@pytest.mark.parametrize(
    ("code", "cause"),
    [("21610", C.STOPPED), ("30005", C.BOUNCED), ("30006", C.BOUNCED), ("30003", None), ("30007", None), ("1", None)],
)
def test_codes_that_say_the_number_is_at_fault(code: str, cause: SuppressionCause | None) -> None:
    receipt = status(MessageStatus="undelivered", ErrorCode=code)
    assert (receipt.suppress, receipt.code, receipt.address) == (cause, code, "+13125550100")


def test_the_callbacks_url_names_the_delivery() -> None:
    url = f"/webhooks/twilio/status?partner_id=1&delivery_id={DELIVERY}&attempt=2"
    receipt = status(url, MessageStatus="sent")
    assert (receipt.partner_id, receipt.delivery_id, receipt.attempt) == (1, UUID(DELIVERY), 2)


def inbound(**parameters: str) -> Receipt:
    form = {"MessageSid": "SM2", "From": "+13125550100", "To": "+15017250604", **parameters}
    return one(read("twilio-inbound", urlencode(form).encode()))


STOPS = ["STOP", "stopall", "Unsubscribe", "CANCEL", "End", "quit", "OPTOUT", "Revoke", " stop\n", "Stop.", "STOP ALL"]
STARTS = ["START", "yes", "Unstop"]
HELPS = ["HELP", "info"]
NEITHER = ["stop it please", "nonstop", "Yes!", "start again", "", "halt", "endless", "?", "don't stop"]


@pytest.mark.parametrize("body", STOPS)
def test_every_word_for_stop(body: str) -> None:
    """Twilio's list, as people write it."""
    receipt = inbound(Body=body)
    assert (receipt.name, receipt.suppress, receipt.lift) == ("STOP", C.STOPPED, None)
    assert receipt.address == "+13125550100"


@pytest.mark.parametrize("body", STARTS)
def test_every_word_for_start(body: str) -> None:
    """Exactly as Twilio wants it: it is consent."""
    receipt = inbound(Body=body)
    assert (receipt.name, receipt.suppress, receipt.lift) == ("START", None, C.STOPPED)


@pytest.mark.parametrize(("body", "name"), [*((one, "HELP") for one in HELPS), *((one, "inbound") for one in NEITHER)])
def test_what_is_no_wish_about_texts_changes_nothing(body: str, name: str) -> None:
    """HELP among it: Twilio answers that itself."""
    receipt = inbound(Body=body)
    assert (receipt.name, receipt.suppress, receipt.lift) == (name, None, None)


@pytest.mark.parametrize(
    ("understood", "suppress", "lift"),
    [("STOP", C.STOPPED, None), ("start", None, C.STOPPED), ("HELP", None, None), ("a new one", C.STOPPED, None)],
)
def test_what_twilio_has_understood_comes_first(
    understood: str, suppress: SuppressionCause | None, lift: SuppressionCause | None
) -> None:
    """An account may have words of its own; what it says that is unknown to us is looked for in the text."""
    receipt = inbound(Body="stop", OptOutType=understood)
    assert (receipt.suppress, receipt.lift) == (suppress, lift)


def test_a_click_on_the_link_switches_the_kind_off() -> None:
    switch = KindSwitch(1, 42, AlertKind.GOAL, Channel.EMAIL)
    receipt = one(read("unsubscribe", b"List-Unsubscribe=One-Click", f"/u/{LINKS.token(switch)}"))
    assert receipt.switch_off == switch


def test_a_forged_link_switches_nothing_off() -> None:
    [unreadable] = read("unsubscribe", b"", "/u/abc")
    assert isinstance(unreadable, Unreadable)
