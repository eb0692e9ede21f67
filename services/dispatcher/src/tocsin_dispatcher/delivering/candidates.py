"""What a batch may send: each claim with all that is known of its recipient, and what leaves together as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from tocsin_dispatcher.addresses import address_hash
from tocsin_dispatcher.delivering.breaker_board import BreakerBoard
from tocsin_dispatcher.delivering.way import Way
from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.planning.local_time import zone_of
from tocsin_dispatcher.planning.plan import fact_key
from tocsin_dispatcher.planning.windows import windows_at
from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.store.claims import Claimed
from tocsin_dispatcher.store.counters import counts_of
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.facts import FactKey, deliveries_telling
from tocsin_dispatcher.store.recipients import Defaults, KnownRecipient, recipients
from tocsin_dispatcher.store.suppressions import AddressKey, Suppressed, suppressed
from tocsin_dispatcher.values import (
    AlertStanding,
    Counts,
    Destination,
    GateCase,
    GateRules,
    Notification,
    Recipient,
    SameFact,
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A claim and its case at the gate; of a digest also its members'."""

    claimed: Claimed
    case: GateCase
    turn: tuple[int, bool, datetime]
    """Its place among those that may leave: see `turn_of`."""
    members: tuple[Candidate, ...] = ()
    is_new: bool = False
    """A digest that is written only if it leaves, or waits for its provider."""

    @property
    def user(self) -> UserKey:
        """Whom it goes to."""
        return user_of(self.claimed)

    def with_counts(self, counts: Counts) -> Candidate:
        """The same, on other counts."""
        if counts == self.case.recipient.counts:
            return self
        return replace(self, case=replace(self.case, recipient=replace(self.case.recipient, counts=counts)))


@dataclass(frozen=True)
class Rules:
    """What the gatekeeper goes by, from the settings."""

    gate: GateRules
    defaults: Defaults
    address_key: bytes
    lease: timedelta


@dataclass(frozen=True)
class _Known:
    """What was read for a batch."""

    people: Mapping[UserKey, KnownRecipient]
    listed: Mapping[AddressKey, Suppressed]
    counts: Mapping[UserKey, Counts]
    standings: Mapping[UUID, AlertStanding]
    telling: Mapping[FactKey, SameFact]


@dataclass(frozen=True)
class Candidates:
    """Reads a channel's candidates."""

    way: Way
    board: BreakerBoard
    rules: Rules

    async def of(
        self,
        connection: Connection,
        claims: Sequence[Claimed],
        standings: Mapping[UUID, AlertStanding],
        now: datetime,
    ) -> list[Candidate]:
        """Each claim with all that is known of its recipient, in the order in which they may leave."""
        users = [user_of(claimed) for claimed in claims]
        people = await recipients(connection, users, self.rules.defaults)
        listed = await suppressed(connection, filter(None, (self._address(user, people[user]) for user in set(users))))
        windows = {
            user: windows_at(now, zone_of(people[user].contact, one.notification))
            for user, one in zip(users, claims, strict=True)
        }
        counts = await counts_of(
            connection, self.way.channel, [(user, windows[user].hour, windows[user].day) for user in windows]
        )
        telling = await deliveries_telling(connection, sorted(set(filter(None, map(_fact_given_up, claims)))))
        places = await self.way.destinations(connection, claims, now)
        known = _Known(people, listed, counts, standings, telling)
        candidates = [self._candidate(claimed, known, places.get(claimed.key), now) for claimed in claims]
        return sorted(candidates, key=lambda one: one.turn)

    def _candidate(self, claimed: Claimed, known: _Known, destination: Destination | None, now: datetime) -> Candidate:
        """A digest's members go where it goes, and are of use as long as it is."""
        case = self._case(claimed, known, destination, now)
        lasting = [
            replace(one, delivery=replace(one.delivery, expires_at=claimed.delivery.expires_at))
            for one in claimed.members
        ]
        probing = self.board.is_probing(self.way.chain_to(destination))
        members = tuple(
            Candidate(one, self._case(one, known, destination, now), turn_of(one, probing)) for one in lasting
        )
        return Candidate(claimed, case, turn_of(claimed, probing), members)

    def _case(self, claimed: Claimed, known: _Known, destination: Destination | None, now: datetime) -> GateCase:
        recipient = self._recipient(claimed, known, destination)
        return GateCase(claimed.delivery, claimed.notification, recipient, now, self.rules.gate)

    def _recipient(self, claimed: Claimed, known: _Known, destination: Destination | None) -> Recipient:
        user, fact = user_of(claimed), _fact_given_up(claimed)
        person = known.people[user]
        address = self._address(user, person)
        entry = None if address is None else known.listed.get(address)
        disabled = SuppressionCause.DISABLED if destination is not None and destination.is_disabled else None
        return Recipient(
            contact=person.contact,
            preferences=person.preferences,
            partner=person.partner,
            suppressed=disabled if entry is None else entry.cause,
            counts=known.counts.get(user, Counts()),
            standing=known.standings.get(claimed.notification.id, AlertStanding.HOLDS),
            same_fact=None if fact is None else known.telling.get(fact),
            destination=destination,
        )

    def _address(self, user: UserKey, known: KnownRecipient) -> AddressKey | None:
        address = None if known.contact is None else known.contact.address(self.way.channel)
        if address is None:
            return None
        hashed = address_hash(self.rules.address_key, user.partner_id, self.way.channel, address)
        return AddressKey(user.partner_id, self.way.channel, hashed)


def user_of(claimed: Claimed) -> UserKey:
    """Whom a claim goes to."""
    return UserKey(claimed.delivery.partner_id, claimed.delivery.user_id)


def turn_of(claimed: Claimed, probing: bool) -> tuple[int, bool, datetime]:
    """Critical ones before others, then the earliest firing. Where a breaker is being tried, the least tried goes
    first of all, so that no delivery which the provider always refuses is each probe again."""
    notification: Notification = claimed.notification
    return (claimed.delivery.attempt if probing else 0), not notification.critical, notification.fired_at


def _fact_given_up(claimed: Claimed) -> FactKey | None:
    """The fact that another delivery may tell by now. One that has the key tells it itself: the unique key says so."""
    delivery = claimed.delivery
    fact = fact_key(claimed.notification.context, delivery.channel) if delivery.fact_key is None else None
    return None if fact is None else FactKey(user_of(claimed), delivery.channel, fact, delivery.destination_id)
