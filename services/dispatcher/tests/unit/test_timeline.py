"""A story told in order, in words that everybody understands."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.deliveries import StoredAttempt, StoredDelivery
from tocsin_dispatcher.store.timeline import Course, StoredHappening, StoredNotification, StoredReceipt, Story
from tocsin_dispatcher.timeline import words
from tocsin_dispatcher.timeline.entries import EntryKind, entries_of
from tocsin_dispatcher.values import (
    Channel,
    FiringContext,
    GoalContext,
    Happening,
    OutcomeKind,
    Purpose,
    ReceiptEffect,
    WorkClass,
)

NOON = datetime(2025, 11, 5, 18, 0, tzinfo=UTC)
CHICAGO = ZoneInfo("America/Chicago")
OURS, DIGEST = UUID(int=1), UUID(int=2)
GOAL = GoalContext(21, "Holiday", 50, Decimal(500), Decimal(1000), "USD")


def at(minutes: int) -> datetime:
    return NOON + timedelta(minutes=minutes)


def delivery(**changes: Any) -> StoredDelivery:
    values: dict[str, Any] = {
        "id": OURS,
        "partner_id": 1,
        "user_id": 1,
        "purpose": Purpose.ALERT,
        "notification_id": UUID(int=9),
        "channel": Channel.EMAIL,
        "destination": "ann@example.com",
        "work_class": WorkClass.REALTIME,
        "status": DeliveryState.SENT,
        "reason": None,
        "due_at": None,
        "expires_at": at(1440),
        "attempt": 1,
        "failures": 0,
        "merged_into": None,
        "provider": "sendgrid",
        "provider_id": None,
        "error": None,
        "segments": None,
        "cost": None,
        "created_at": NOON,
        "sent_at": None,
        "delivered_at": None,
        "failed_at": None,
    }
    return StoredDelivery(**{**values, **changes})


def course(told: StoredDelivery | None = None, *happened: StoredHappening, **more: Any) -> Course:
    own = {"is_own": True, "attempts": (), "receipts": ()}
    return Course(delivery=told or delivery(), happenings=happened, **{**own, **more})


def story(*courses: Course) -> Story:
    return Story(StoredNotification("Saving", GOAL, NOON, None, "America/Chicago"), courses)


def tell(context: FiringContext, zone: ZoneInfo, fired_at: datetime) -> str:
    return "Half of it is saved."


def sentences(*courses: Course) -> list[str]:
    return [entry.text for entry in entries_of(story(*courses), tell)][1:]


def happened(what: Happening, minutes: int = 1, **more: Any) -> StoredHappening:
    values: dict[str, Any] = {"reason": None, "until": None, "joined_id": None, "joined": None}
    return StoredHappening(at(minutes), what, **{**values, **more})


def receipt(effect: ReceiptEffect, name: str, minutes: int = 5, attempt: int | None = 1) -> StoredReceipt:
    return StoredReceipt(at(minutes), effect, name, name, attempt)


def called(number: int, began: datetime) -> StoredAttempt:
    return StoredAttempt(number, "sendgrid", "key", began, began, OutcomeKind.ACCEPTED, 202, None, None, False)


HELD = [reason for reason in Reason if reason in words._HELD_BECAUSE]
NOT_SENT = [
    Reason.NO_ADDRESS,
    *(reason for reason in Reason if reason.value.startswith("suppressed_")),
    *(Reason.UNVERIFIED, Reason.ALERT_GONE, Reason.SNOOZED, Reason.PREFERENCE_OFF, Reason.NO_LONGER_TRUE),
]


def test_every_reason_has_its_words() -> None:
    """Those of the closed list that a message of an alert can have."""
    others = {Reason.EXPIRED, Reason.MERGED, Reason.BREAKER_OPEN, Reason.COUNTRY_NOT_ALLOWED}
    assert {*HELD, *NOT_SENT, *others} == set(Reason)
    for channel in Channel:
        for reason in NOT_SENT:
            if (reason, channel) != (Reason.NO_ADDRESS, Channel.IN_APP):
                assert ", because " in words.not_sent(channel, reason), (channel, reason)
        for reason in HELD:
            assert ", because " in words.held(channel, reason, NOON, CHICAGO)


@pytest.mark.parametrize("happening", Happening)
def test_everything_that_happens_has_an_entry_of_its_kind(happening: Happening) -> None:
    """For the contract, too."""
    entries = entries_of(story(course(None, happened(happening, reason=Reason.QUIET_HOURS, until=at(9)))), tell)
    assert [entry.kind.value for entry in entries] == ["fired", "prepared", happening.value]
    assert all(entry.text.endswith(".") and "{" not in entry.text for entry in entries)


@pytest.mark.parametrize("outcome", [None, *OutcomeKind])
@pytest.mark.parametrize("channel", [Channel.EMAIL, Channel.SMS, Channel.PUSH, Channel.WEBHOOK])
def test_every_outcome_has_its_words(outcome: OutcomeKind | None, channel: Channel) -> None:
    """A repeat that may be one says so."""
    plain, twice = (words.attempted(channel, outcome, repeat) for repeat in (False, True))
    assert "{" not in plain
    assert twice == plain + " An earlier try was never answered, so you may have got it twice."


def test_a_time_is_the_users() -> None:
    """And its day is named: a night is long."""
    until = datetime(2025, 11, 6, 14, 0, tzinfo=UTC)
    assert words.held(Channel.SMS, Reason.QUIET_HOURS, until, CHICAGO) == (
        "The text message was held until 08:00 on 6 November 2025, because your quiet hours were on."
    )


@pytest.mark.parametrize(
    ("effect", "name", "kind", "text"),
    [
        (ReceiptEffect.SENT, "deferred", EntryKind.ON_ITS_WAY, "The mail server asked to be tried again later."),
        (ReceiptEffect.DELIVERED, "delivered", EntryKind.DELIVERED, "The e-mail arrived."),
        (ReceiptEffect.OPENED, "open", EntryKind.OPENED, "The e-mail was opened."),
        (ReceiptEffect.OPENED_BY_MACHINE, "open", EntryKind.OPENED_BY_MACHINE, "A program opened the e-mail"),
        (ReceiptEffect.CLICKED, "click", EntryKind.CLICKED, "A link in the e-mail was clicked."),
        (ReceiptEffect.BOUNCED, "bounce", EntryKind.BOUNCED, "The e-mail came back"),
        (ReceiptEffect.FAILED, "dropped", EntryKind.FAILED, "The e-mail could not be delivered."),
        (ReceiptEffect.NOTED, "spamreport", EntryKind.COMPLAINED, "The e-mail was reported as spam"),
        (ReceiptEffect.NOTED, "unsubscribe", EntryKind.UNSUBSCRIBED, "You unsubscribed"),
        (ReceiptEffect.NOTED, "group_unsubscribe", EntryKind.UNSUBSCRIBED, "You unsubscribed"),
    ],
)
def test_what_a_provider_says_later(effect: ReceiptEffect, name: str, kind: EntryKind, text: str) -> None:
    """Each with the kind that the contract has for it."""
    last = entries_of(story(course(receipts=(receipt(effect, name),))), tell)[-1]
    assert (last.kind, last.text.startswith(text)) == (kind, True), last


@pytest.mark.parametrize("name", ["account_status_change", "group_resubscribe", "a new one"])
def test_what_is_no_news_to_anybody_is_left_out(name: str) -> None:
    """It is in the receipts for whoever looks for it."""
    assert sentences(course(receipts=(receipt(ReceiptEffect.NOTED, name),))) == ["An e-mail was prepared."]


def test_receipts_that_are_forgotten_leave_how_it_ended() -> None:
    """They live for a month, deliveries for half a year; and the inbox has none."""
    ended = delivery(status=DeliveryState.BOUNCED, delivered_at=at(2), failed_at=at(3))
    assert sentences(course(ended))[1:] == [
        "The e-mail arrived.",
        "The e-mail came back: the address does not exist, or takes no messages.",
    ]
    heard = (receipt(ReceiptEffect.DELIVERED, "delivered", 2), receipt(ReceiptEffect.BOUNCED, "bounce", 3))
    assert len(sentences(course(ended, receipts=heard))) == 3, "and none is told twice"
    seen = delivery(channel=Channel.IN_APP, status=DeliveryState.DELIVERED, delivered_at=at(2))
    assert sentences(course(seen))[1:] == ["The notification was shown in your inbox."]


def test_a_digest_is_told_as_one_with_its_own_course() -> None:
    """Its members' timelines show what became of it."""
    joined = course(
        delivery(status=DeliveryState.MERGED, merged_into=DIGEST),
        happened(Happening.MERGED, 2, reason=Reason.MERGED, joined_id=DIGEST, joined=Purpose.DIGEST),
    )
    digest = delivery(id=DIGEST, purpose=Purpose.DIGEST, notification_id=None, created_at=at(2))
    accepted = StoredAttempt(1, "sendgrid", "key", at(3), at(3), OutcomeKind.ACCEPTED, 202, None, None, False)
    assert sentences(joined, course(digest, is_own=False, attempts=(accepted,))) == [
        "An e-mail was prepared.",
        "Several alerts were put together into one e-mail.",
        "It was put together with other alerts into one e-mail.",
        "Our e-mail provider took the e-mail.",
    ]


def test_what_left_its_digest_was_put_together_with_other_alerts_all_the_same() -> None:
    left = course(
        None,
        happened(Happening.MERGED, 2, reason=Reason.MERGED, joined_id=DIGEST, joined=Purpose.DIGEST),
        happened(Happening.SUPPRESSED, 3, reason=Reason.NO_LONGER_TRUE),
    )
    assert sentences(left)[-2:] == [
        "It was put together with other alerts into one e-mail.",
        "The e-mail was not sent, because what it would have told was no longer true when we checked again.",
    ]


def test_what_happens_at_one_instant_is_told_in_the_order_in_which_it_must_have_happened() -> None:
    """A test's clock stands still, and a database's is not finer than a microsecond."""
    attempt = StoredAttempt(1, "sendgrid", "key", NOON, NOON, OutcomeKind.ACCEPTED, 202, None, None, False)
    told = course(
        delivery(),
        happened(Happening.RECHECKED, 0),
        attempts=(attempt,),
        receipts=(receipt(ReceiptEffect.OPENED, "open", 0), receipt(ReceiptEffect.DELIVERED, "delivered", 0)),
    )
    kinds = [entry.kind for entry in entries_of(story(told), tell)]
    assert kinds == [
        EntryKind.FIRED,
        EntryKind.PREPARED,
        EntryKind.RECHECKED,
        EntryKind.ATTEMPTED,
        EntryKind.DELIVERED,
        EntryKind.OPENED,
    ]


@pytest.mark.parametrize("number", [2, None])
def test_what_a_provider_says_of_a_call_is_told_after_it(number: int | None) -> None:
    """SendGrid tells whole seconds, and no two machines' clocks agree: an answer is never told before its question."""
    first, second = called(1, NOON + timedelta(milliseconds=300)), called(2, NOON + timedelta(milliseconds=700))
    heard = (
        receipt(ReceiptEffect.OPENED, "open", 0, number),
        receipt(ReceiptEffect.DELIVERED, "delivered", 0, number),
        receipt(ReceiptEffect.SENT, "processed", -1, 1),
    )
    entries = entries_of(story(course(attempts=(first, second), receipts=heard)), tell)
    kinds = [entry.kind for entry in entries][2:]
    processed, arrived = [EntryKind.ON_ITS_WAY], [EntryKind.DELIVERED, EntryKind.OPENED]
    calls = EntryKind.ATTEMPTED
    of_the_second = [calls, *processed, calls, *arrived]
    assert kinds == (of_the_second if number else [calls, *processed, *arrived, calls])
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries), (
        "oldest first, as the contract says"
    )


def test_how_it_ended_is_told_after_the_call_too() -> None:
    """When the receipts are forgotten, their times are in the delivery."""
    ended = delivery(status=DeliveryState.DELIVERED, delivered_at=NOON)
    entries = entries_of(story(course(ended, attempts=(called(1, NOON + timedelta(milliseconds=300)),))), tell)
    assert [entry.kind for entry in entries][2:] == [EntryKind.ATTEMPTED, EntryKind.DELIVERED]
