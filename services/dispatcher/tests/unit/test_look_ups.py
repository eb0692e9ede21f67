"""Whose messages these are that a provider lists."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from tocsin_dispatcher.channels.sms import Sms
from tocsin_dispatcher.delivering.look_ups import Lost, matched
from tocsin_dispatcher.delivering.way import BuiltIn, MediumWay
from tocsin_dispatcher.rendering.renderer import Renderer
from tocsin_dispatcher.store.claims import Claimed
from tocsin_dispatcher.values import (
    Attempt,
    Channel,
    Delivery,
    GateCase,
    Made,
    Notification,
    Outcome,
    OutcomeKind,
    SmsMessage,
    SmsSize,
    UpcomingBillContext,
)

from .conftest import NOON_IN_CHICAGO as NOON

LIMIT, LEASE = timedelta(seconds=10), timedelta(seconds=60)
MakeLost = Callable[[int, float, str | None], Lost]


@pytest.fixture
def lost(delivery: Delivery, make_notification: Callable[..., Notification], attempt: Attempt) -> MakeLost:
    """A lost attempt of the delivery of this number, begun so many seconds after noon, with these words."""

    def make(number: int, seconds: float, words: str | None) -> Lost:
        id_, began = UUID(int=number), NOON + timedelta(seconds=seconds)
        claimed = Claimed(replace(delivery, id=id_), make_notification(), began, False)
        message = None if words is None else SmsMessage("+13125550100", words, SmsSize(1, Decimal("0.0079")))
        return Lost(claimed, replace(attempt, delivery_id=id_, started_at=began), message)

    return make


def made(provider_id: str, seconds: float, words: str = "") -> Made:
    return Made(provider_id, NOON + timedelta(seconds=seconds), words, Outcome(OutcomeKind.ACCEPTED))


def whose(lost_ones: list[Lost], messages: list[Made]) -> Mapping[int, str]:
    found = matched(lost_ones, messages, LIMIT, LEASE)
    return {key.id.int: message.provider_id for key, message in found.items()}


def test_one_message_is_not_two_deliveries(lost: MakeLost) -> None:
    """Both were sent in the same second and one arrived: the other never did."""
    assert whose([lost(1, 0, "Low"), lost(2, 0.2, "Low")], [made("SM1", 1, "Low")]) == {1: "SM1"}


def test_a_message_is_the_delivery_s_whose_words_it_has(lost: MakeLost) -> None:
    """The first never arrived; what came is the second's, though it lies in the first one's time too."""
    assert whose([lost(1, 0, "Low"), lost(2, 1, "High")], [made("SM2", 2, "High")]) == {2: "SM2"}


def test_a_message_of_other_words_is_not_taken_for_one_that_never_arrived(lost: MakeLost) -> None:
    """Or that one would be lost, and the message's own delivery told twice (seen at a kill in the middle of both)."""
    assert whose([lost(1, 0, "Low")], [made("SM2", 2, "High")]) == {}


def test_a_message_made_late_is_its_by_its_words_and_one_without_words_is_not(lost: MakeLost) -> None:
    """The call began late within the lease: the database was slow before it. Without words only time can tell."""
    assert whose([lost(1, 0, "Low")], [made("SM1", 40, "Low")]) == {1: "SM1"}
    assert whose([lost(1, 0, "Low")], [made("SM1", 40, "")]) == {}
    assert whose([lost(1, 0, "Low")], [made("SM1", 4, "")]) == {1: "SM1"}, "the account keeps no words"


def test_of_equal_words_the_earlier_message_is_the_earlier_attempt_s(lost: MakeLost) -> None:
    assert whose([lost(2, 1, "Low"), lost(1, 0, "Low")], [made("B", 2, "Low"), made("A", 1, "Low")]) == {
        1: "A",
        2: "B",
    }


@pytest.mark.parametrize("words", ["Low", None])
def test_a_text_with_words_added_or_that_cannot_be_told_any_more_is_the_earliest(
    lost: MakeLost, words: str | None
) -> None:
    """A trial account's texts have a beginning of their own."""
    messages = [made("B", 3, "Trial: Low"), made("A", 2, "Trial: Low")]
    assert whose([lost(1, 0, words)], messages) == {1: "A"}


class Heard:
    """A provider that keeps the words it was given."""

    name, credential = "heard", "key"
    room: int | None = None

    def __init__(self) -> None:
        self.words: list[str] = []

    async def send(self, message: SmsMessage, attempt: Attempt) -> Outcome:
        self.words.append(message.text)
        return Outcome(OutcomeKind.UNKNOWN)


async def test_the_words_of_an_attempt_are_composed_as_they_were_sent(
    attempt: Attempt, make_notification: Callable[..., Notification], make_case: Callable[..., GateCase]
) -> None:
    provider = Heard()
    renderer = Renderer("https://app.example", "Bank")
    way = MediumWay(Channel.SMS, BuiltIn(Sms(renderer)), [provider], lambda message: message.size)
    bill = UpcomingBillContext(5, "Rent", Decimal("1200"), "USD", (NOON + timedelta(days=1)).date())
    notification, recipient = make_notification(bill), make_case().recipient
    await way.send(way.chain[0], attempt, notification, recipient, NOON)
    message = way.text_message(notification, recipient, NOON)
    assert message is not None
    assert [message.text] == provider.words
    later = way.text_message(notification, recipient, NOON + timedelta(days=1))
    assert later is not None
    assert later.text != message.text
    assert way.text_message(notification, replace(recipient, contact=None), NOON) is None


@pytest.mark.parametrize(
    ("seconds", "found"),
    [(-2.1, False), (-2, True), (0, True), (12, True), (12.1, False)],
)
def test_a_message_is_of_the_call_s_own_time(lost: MakeLost, seconds: float, found: bool) -> None:
    """The call's limit, and two seconds for clocks that differ: a message made later is another attempt's."""
    assert bool(whose([lost(1, 0, "Low")], [made("SM1", seconds)])) is found
