"""One transaction between a claim and the calls: gate, tokens, and attempts written before they are made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from tocsin_dispatcher.addresses import address_hash
from tocsin_dispatcher.announcing import Announcer, DeliveryChange
from tocsin_dispatcher.breakers import BreakerKey
from tocsin_dispatcher.changes import change_of
from tocsin_dispatcher.delivering.aside import set_aside_by, waiting
from tocsin_dispatcher.delivering.breaker_board import BoardChanges, BreakerBoard
from tocsin_dispatcher.delivering.way import Way
from tocsin_dispatcher.keys import DeliveryKey, UserKey
from tocsin_dispatcher.planning.gate import gate
from tocsin_dispatcher.planning.local_time import zone_named
from tocsin_dispatcher.planning.plan import fact_key
from tocsin_dispatcher.planning.stages.rate_limits import limits, owes_token
from tocsin_dispatcher.planning.windows import Windows, windows_at
from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.attempts import Beginning, SetAside, begin_attempts, set_aside
from tocsin_dispatcher.store.claims import Claimed
from tocsin_dispatcher.store.counters import Granted, Wanted, counts_of, take_tokens
from tocsin_dispatcher.store.database import Connection, Engine, in_transaction
from tocsin_dispatcher.store.facts import FactKey, deliveries_telling
from tocsin_dispatcher.store.fates import lock_before_ending, release_members
from tocsin_dispatcher.store.history import note_rechecked
from tocsin_dispatcher.store.recipients import Defaults, KnownRecipient, recipients
from tocsin_dispatcher.store.suppressions import AddressKey, Suppressed, suppressed
from tocsin_dispatcher.values import (
    AlertStanding,
    Counts,
    Delivery,
    Destination,
    GateCase,
    GateRules,
    Proceed,
    Recipient,
    SameFact,
)
from tocsin_kit.clock import Clock
from tocsin_kit.telemetry.metrics import Metrics

_NEVER_JOINED = frozenset({DeliveryState.SUPPRESSED, DeliveryState.EXPIRED})


@dataclass(frozen=True, slots=True)
class Admitted:
    """A delivery whose attempt is written: it may be called for now."""

    claimed: Claimed
    recipient: Recipient
    provider: BreakerKey


@dataclass(frozen=True)
class Rules:
    """What the gatekeeper goes by, from the settings."""

    gate: GateRules
    defaults: Defaults
    address_key: bytes
    lease: timedelta


@dataclass
class _Round:
    """What is decided about a batch, as it grows."""

    proceeding: list[tuple[Claimed, GateCase, BreakerKey]] = field(default_factory=list)
    aside: list[SetAside] = field(default_factory=list)


@dataclass(frozen=True)
class _Outcome:
    admitted: Sequence[Admitted]
    changes: Sequence[DeliveryChange]
    board: BoardChanges


class Gatekeeper:
    """Lets a channel's deliveries pass, or sets them aside with a reason."""

    def __init__(
        self,
        engine: Engine,
        way: Way,
        board: BreakerBoard,
        announcer: Announcer,
        clock: Clock,
        metrics: Metrics,
        rules: Rules,
    ) -> None:
        self._engine, self._way, self._board, self._announcer = engine, way, board, announcer
        self._clock, self._metrics, self._rules = clock, metrics, rules

    async def admit(self, claims: Sequence[Claimed], standings: Mapping[UUID, AlertStanding]) -> Sequence[Admitted]:
        """Those that may leave now, their attempts written. `standings` are the evaluator's, by firing id."""
        admitted_by: list[BreakerKey] = []

        async def work(connection: Connection) -> _Outcome:
            self._board.release(admitted_by)  # a run of this transaction that was rolled back
            admitted_by.clear()
            return await self._decide(connection, claims, standings, admitted_by)

        try:
            outcome = await in_transaction(self._engine, work)
        except BaseException:
            self._board.release(admitted_by)
            raise
        self._board.wrote(outcome.board)
        self._announcer.wrote(outcome.changes)
        self._measure(outcome.admitted)
        return outcome.admitted

    async def _decide(
        self,
        connection: Connection,
        claims: Sequence[Claimed],
        standings: Mapping[UUID, AlertStanding],
        admitted_by: list[BreakerKey],
    ) -> _Outcome:
        now = self._clock.now()
        cases = await self._cases(connection, claims, standings, now)
        decided = _Round()
        counts: dict[UserKey, Counts] = {}
        for claimed, case in cases:
            self._judge(decided, claimed, case, counts, admitted_by)
        await self._take_tokens(connection, decided, admitted_by)
        await self._lock(connection, decided, claims)
        begun = await self._begin(connection, decided, now, admitted_by)
        await note_rechecked(connection, _rechecked(claims, begun, standings), now)
        written = await set_aside(connection, decided.aside, now)
        ended = [put.key for put in decided.aside if put.status in _NEVER_JOINED and put.key.id in written]
        released = await release_members(connection, ended, now)
        by_key = {claimed.key: claimed for claimed in claims}
        changes = [
            change_of(by_key[put.key].delivery, put.status, put.reason, now)
            for put in decided.aside
            if put.key.id in written and _is_told(by_key[put.key], put)
        ]
        changes += [change_of(delivery, DeliveryState.PENDING, None, now) for delivery in released]
        await self._announcer.add(connection, changes, now)
        return _Outcome(begun, changes, await self._board.write(connection))

    async def _lock(self, connection: Connection, decided: _Round, claims: Sequence[Claimed]) -> None:
        """The inboxes first, as intake does: of users whose deliveries end here, or join another."""
        ending = [put.key for put in decided.aside if put.status in _NEVER_JOINED]
        merging = {put.key for put in decided.aside if put.status is DeliveryState.MERGED}
        await lock_before_ending(connection, ending, [_user(one) for one in claims if one.key in merging])

    async def _cases(
        self,
        connection: Connection,
        claims: Sequence[Claimed],
        standings: Mapping[UUID, AlertStanding],
        now: datetime,
    ) -> list[tuple[Claimed, GateCase]]:
        """Each claim with all that is known of its recipient, in the order in which they may leave."""
        users = [_user(claimed) for claimed in claims]
        known = await recipients(connection, users, self._rules.defaults)
        listed = await suppressed(connection, filter(None, (self._address(user, known[user]) for user in set(users))))
        windows = {user: windows_at(now, _zone(known[user])) for user in users}
        counts = await counts_of(
            connection, self._way.channel, [(user, windows[user].hour, windows[user].day) for user in windows]
        )
        telling = await deliveries_telling(connection, sorted(set(filter(None, map(_fact_given_up, claims)))))
        places = await self._way.destinations(connection, claims, now)
        ordered = sorted(claims, key=lambda one: _turn(one, self._is_probing(places.get(one.key))))
        return [
            (
                claimed,
                GateCase(
                    claimed.delivery,
                    claimed.notification,
                    self._recipient(claimed, known, listed, counts, standings, telling, places.get(claimed.key)),
                    now,
                    self._rules.gate,
                ),
            )
            for claimed in ordered
        ]

    def _recipient(
        self,
        claimed: Claimed,
        known: Mapping[UserKey, KnownRecipient],
        listed: Mapping[AddressKey, Suppressed],
        counts: Mapping[UserKey, Counts],
        standings: Mapping[UUID, AlertStanding],
        telling: Mapping[FactKey, SameFact],
        destination: Destination | None,
    ) -> Recipient:
        user, fact = _user(claimed), _fact_given_up(claimed)
        address = self._address(user, known[user])
        entry = None if address is None else listed.get(address)
        disabled = SuppressionCause.DISABLED if destination is not None and destination.is_disabled else None
        return Recipient(
            contact=known[user].contact,
            preferences=known[user].preferences,
            partner=known[user].partner,
            suppressed=disabled if entry is None else entry.cause,
            counts=counts.get(user, Counts()),
            standing=standings.get(claimed.notification.id, AlertStanding.HOLDS),
            same_fact=None if fact is None else telling.get(fact),
            destination=destination,
        )

    def _is_probing(self, destination: Destination | None) -> bool:
        return self._board.is_probing(self._way.chain_to(destination))

    def _address(self, user: UserKey, known: KnownRecipient) -> AddressKey | None:
        address = None if known.contact is None else known.contact.address(self._way.channel)
        if address is None:
            return None
        hashed = address_hash(self._rules.address_key, user.partner_id, self._way.channel, address)
        return AddressKey(user.partner_id, self._way.channel, hashed)

    def _judge(
        self,
        decided: _Round,
        claimed: Claimed,
        case: GateCase,
        counts: dict[UserKey, Counts],
        admitted_by: list[BreakerKey],
    ) -> None:
        """Gate one delivery, on counts that include those of the batch that went before it."""
        user = _user(claimed)
        case = _with_counts(case, counts.get(user, case.recipient.counts))
        verdict = gate(case)
        if not isinstance(verdict, Proceed):
            decided.aside.append(set_aside_by(claimed, verdict))
            return
        chain = self._way.chain_to(case.recipient.destination)
        provider = self._board.admit_first(chain, claimed.notification.critical)
        if not isinstance(provider, BreakerKey):
            decided.aside.append(waiting(claimed, provider))
            return
        admitted_by.append(provider)
        decided.proceeding.append((claimed, case, provider))
        if owes_token(claimed.delivery):
            counts[user] = _one_more(case.recipient.counts, claimed.notification.critical)

    def _give_back(self, provider: BreakerKey, admitted_by: list[BreakerKey]) -> None:
        """A call that was admitted is not made."""
        admitted_by.remove(provider)
        self._board.release([provider])

    async def _take_tokens(self, connection: Connection, decided: _Round, admitted_by: list[BreakerKey]) -> None:
        """Take the tokens that are owed. Another worker may have been faster: who got none is gated once more."""
        owing: dict[UserKey, list[tuple[Claimed, GateCase, BreakerKey]]] = defaultdict(list)
        for entry in decided.proceeding:
            if owes_token(entry[0].delivery):
                owing[_user(entry[0])].append(entry)
        wanted = [_wanted(user, entries) for user, entries in owing.items()]
        granted = await take_tokens(connection, self._way.channel, wanted, self._rules.gate.critical_per_hour)
        for user, entries in owing.items():
            for entry in _without_token(entries, granted[user]):
                claimed, case, provider = entry
                decided.proceeding.remove(entry)
                self._give_back(provider, admitted_by)
                verdict = gate(_with_counts(case, granted[user].counts))
                decided.aside.append(set_aside_by(claimed, verdict))

    async def _begin(
        self, connection: Connection, decided: _Round, now: datetime, admitted_by: list[BreakerKey]
    ) -> list[Admitted]:
        beginnings = [
            Beginning(
                key=claimed.key,
                attempt=claimed.delivery.attempt,
                leased_until=claimed.leased_until,
                destination=_destination(case),
                provider=provider.provider,
                credential=provider.credential,
                possible_duplicate=claimed.possible_duplicate,
            )
            for claimed, case, provider in decided.proceeding
        ]
        lease = now + self._rules.lease
        begun = await begin_attempts(connection, beginnings, now, lease)
        for claimed, _, provider in decided.proceeding:
            if claimed.key.id not in begun:
                self._give_back(provider, admitted_by)
        return [
            Admitted(
                replace(claimed, delivery=_begun(claimed, case, provider), leased_until=lease), case.recipient, provider
            )
            for claimed, case, provider in decided.proceeding
            if claimed.key.id in begun
        ]

    def _measure(self, admitted_now: Sequence[Admitted]) -> None:
        now = self._clock.now()
        for admitted in admitted_now:
            if admitted.claimed.delivery.attempt == 1:
                waited = (now - admitted.claimed.notification.fired_at).total_seconds()
                lane = admitted.claimed.delivery.work_class
                self._metrics.firing_to_attempt.labels(lane).observe(max(waited, 0.0))


def _user(claimed: Claimed) -> UserKey:
    return UserKey(claimed.delivery.partner_id, claimed.delivery.user_id)


def _fact_given_up(claimed: Claimed) -> FactKey | None:
    """The fact that another delivery may tell by now. One that has the key tells it itself: the unique key says so."""
    delivery = claimed.delivery
    fact = fact_key(claimed.notification.context, delivery.channel) if delivery.fact_key is None else None
    return None if fact is None else FactKey(_user(claimed), delivery.channel, fact, delivery.destination_id)


def _zone(known: KnownRecipient | Recipient) -> ZoneInfo:
    return zone_named("UTC" if known.contact is None else known.contact.time_zone)


def _turn(claimed: Claimed, probing: bool) -> tuple[int, bool, datetime]:
    """Critical ones before others, then the earliest firing. Where a breaker is being tried, the least tried goes
    first of all, so that no delivery which the provider always refuses is each probe again."""
    tried = claimed.delivery.attempt if probing else 0
    return tried, not claimed.notification.critical, claimed.notification.fired_at


def _with_counts(case: GateCase, counts: Counts) -> GateCase:
    return replace(case, recipient=replace(case.recipient, counts=counts))


def _one_more(counts: Counts, critical: bool) -> Counts:
    if critical:
        return replace(counts, critical_this_hour=counts.critical_this_hour + 1)
    return replace(counts, this_hour=counts.this_hour + 1, today=counts.today + 1)


def _wanted(user: UserKey, entries: Sequence[tuple[Claimed, GateCase, BreakerKey]]) -> Wanted:
    case = entries[0][1]
    windows: Windows = windows_at(case.now, _zone(case.recipient))
    critical = sum(claimed.notification.critical for claimed, _, _ in entries)
    per_hour, per_day = limits(case.recipient.preferences, case.recipient.partner)
    return Wanted(user, windows.hour, windows.day, len(entries) - critical, critical, per_hour, per_day)


def _without_token(
    entries: Sequence[tuple[Claimed, GateCase, BreakerKey]], granted: Granted
) -> list[tuple[Claimed, GateCase, BreakerKey]]:
    """The last ones of each sort beyond what was granted."""
    normal = [entry for entry in entries if not entry[0].notification.critical]
    critical = [entry for entry in entries if entry[0].notification.critical]
    return normal[granted.normal :] + critical[granted.critical :]


def _rechecked(
    claims: Sequence[Claimed], begun: Sequence[Admitted], standings: Mapping[UUID, AlertStanding]
) -> list[DeliveryKey]:
    """Those that leave after the evaluator was heard. Of a retry its attempts tell enough."""
    leaving = {one.claimed.key for one in begun}
    return [
        one.key
        for one in claims
        if one.key in leaving and one.notification.id in standings and one.delivery.status is not DeliveryState.RETRYING
    ]


def _is_told(claimed: Claimed, put: SetAside) -> bool:
    """Whether the state or the reason is another than before."""
    return (claimed.delivery.status, claimed.delivery.reason) != (put.status, put.reason)


def _destination(case: GateCase) -> str | None:
    contact, own = case.recipient.contact, case.recipient.destination
    if own is not None:
        return own.shown
    return None if contact is None else contact.address(case.delivery.channel)


def _begun(claimed: Claimed, case: GateCase, provider: BreakerKey) -> Delivery:
    return replace(
        claimed.delivery,
        status=DeliveryState.SENDING,
        reason=None,
        attempt=claimed.delivery.attempt + 1,
        destination=_destination(case),
        provider=provider.provider,
        token_taken=True,
    )
