"""A story in order: entries, each with its sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from tocsin_dispatcher.planning.local_time import zone_named
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.deliveries import StoredAttempt, StoredDelivery
from tocsin_dispatcher.store.timeline import Course, StoredHappening, StoredReceipt, Story
from tocsin_dispatcher.timeline import words
from tocsin_dispatcher.values import Channel, FiringContext, Happening, Purpose, ReceiptEffect

#: What a firing's context says, in English, to somebody in a zone.
Tell = Callable[[FiringContext, ZoneInfo, datetime], str]


class EntryKind(StrEnum):
    """What an entry tells of, in the order in which what happens at one instant is told."""

    FIRED = "fired"
    PREPARED = "prepared"
    RETRIED = "retried"
    RELEASED = "released"
    HELD = "held"
    RECHECKED = "rechecked"
    SUPPRESSED = "suppressed"
    MERGED = "merged"
    ATTEMPTED = "attempted"
    WAITING = "waiting"
    ON_ITS_WAY = "on_its_way"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    FAILED = "failed"
    EXPIRED = "expired"
    OPENED = "opened"
    OPENED_BY_MACHINE = "opened_by_machine"
    CLICKED = "clicked"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    READ = "read"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened, and how it is told."""

    at: datetime
    kind: EntryKind
    text: str
    delivery: StoredDelivery | None = None
    """None: it is about the notification itself."""
    happening: StoredHappening | None = None
    attempt: StoredAttempt | None = None
    said: str = ""


_ORDER = {kind: place for place, kind in enumerate(EntryKind)}
_HEARD: dict[ReceiptEffect, EntryKind] = {
    ReceiptEffect.SENT: EntryKind.ON_ITS_WAY,
    ReceiptEffect.DELIVERED: EntryKind.DELIVERED,
    ReceiptEffect.BOUNCED: EntryKind.BOUNCED,
    ReceiptEffect.FAILED: EntryKind.FAILED,
    ReceiptEffect.OPENED: EntryKind.OPENED,
    ReceiptEffect.OPENED_BY_MACHINE: EntryKind.OPENED_BY_MACHINE,
    ReceiptEffect.CLICKED: EntryKind.CLICKED,
}


def entries_of(story: Story, tell: Tell) -> list[Entry]:
    """The story's entries, oldest first."""
    notification, zone = story.notification, zone_named(story.notification.time_zone)
    message = tell(notification.context, zone, notification.fired_at)
    found = [Entry(notification.fired_at, EntryKind.FIRED, words.fired(notification.alert_name, message))]
    for course in story.courses:
        found += _of_course(course, zone)
    if notification.read_at is not None:
        found.append(Entry(notification.read_at, EntryKind.READ, words.read()))
    return sorted(found, key=lambda entry: (entry.at, _ORDER[entry.kind]))


def _of_course(course: Course, zone: ZoneInfo) -> Iterator[Entry]:
    delivery = course.delivery
    text = words.prepared(delivery.channel, delivery.purpose)
    if course.is_own or delivery.purpose is Purpose.DIGEST:
        yield Entry(delivery.created_at, EntryKind.PREPARED, text, delivery)
    for happening in course.happenings:
        text = _happened(delivery.channel, happening, zone)
        yield Entry(happening.at, EntryKind(happening.happening), text, delivery, happening)
    for attempt in course.attempts:
        text = words.attempted(delivery.channel, attempt.outcome, attempt.possible_duplicate)
        yield Entry(attempt.started_at, EntryKind.ATTEMPTED, text, delivery, attempt=attempt)
    heard = [entry for receipt in course.receipts for entry in _heard(course, receipt)]
    yield from heard
    yield from _ended(course, {entry.kind for entry in heard})


def _happened(channel: Channel, one: StoredHappening, zone: ZoneInfo) -> str:
    match one.happening:
        case Happening.HELD:
            return words.held(channel, one.reason, one.until, zone)
        case Happening.WAITING:
            return words.waiting(channel)
        case Happening.RECHECKED:
            return words.rechecked()
        case Happening.SUPPRESSED:
            return words.not_sent(channel, one.reason)
        case Happening.MERGED:
            return words.merged(channel, one.joined)
        case Happening.RELEASED:
            return words.released(channel)
        case Happening.EXPIRED:
            return words.expired(channel)
        case Happening.RETRIED:
            return words.retried(channel)


def _after_the_call(course: Course, at: datetime, number: int | None = None) -> datetime:
    """When something happened that follows a call: this one, or where its number is not known the first. Providers
    tell whole seconds, by clocks of their own, so that it may seem to have come before."""
    numbered = {attempt.number: attempt.started_at for attempt in course.attempts}
    called = numbered.get(number or 0) or min(numbered.values(), default=course.delivery.created_at)
    return max(at, called)


def _heard(course: Course, receipt: StoredReceipt) -> Iterator[Entry]:
    delivery = course.delivery
    text = words.said(delivery.channel, receipt.effect, receipt.name)
    if receipt.name in words.COMPLAINTS:
        kind: EntryKind | None = EntryKind.COMPLAINED
    elif receipt.name in words.UNSUBSCRIPTIONS:
        kind = EntryKind.UNSUBSCRIBED
    else:
        kind = _HEARD.get(receipt.effect)
    if kind is not None and text is not None:
        at = _after_the_call(course, receipt.at, receipt.attempt)
        yield Entry(at, kind, text, delivery, said=receipt.said)


def _ended(course: Course, heard: set[EntryKind]) -> Iterator[Entry]:
    """How it ended, where nothing that is kept says so: the inbox has no receipts, and receipts are forgotten before
    deliveries are."""
    delivery, channel = course.delivery, course.delivery.channel
    if delivery.delivered_at is not None and EntryKind.DELIVERED not in heard:
        arrived = words.said(channel, ReceiptEffect.DELIVERED, "") or ""
        text = words.shown() if channel is Channel.IN_APP else arrived
        yield Entry(_after_the_call(course, delivery.delivered_at), EntryKind.DELIVERED, text, delivery)
    came_back = delivery.status is DeliveryState.BOUNCED and EntryKind.BOUNCED not in heard
    if came_back and delivery.failed_at is not None:
        text = words.said(channel, ReceiptEffect.BOUNCED, "") or ""
        at = _after_the_call(course, delivery.failed_at)
        yield Entry(at, EntryKind.BOUNCED, text, delivery, said=delivery.error or "")
