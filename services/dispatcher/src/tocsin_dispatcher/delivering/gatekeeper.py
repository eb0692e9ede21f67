"""One transaction between a claim and the calls: gate, tokens, digests, and attempts written before they are made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from tocsin_dispatcher.announcing import Announcer, DeliveryChange
from tocsin_dispatcher.breakers import BreakerKey
from tocsin_dispatcher.changes import change_of
from tocsin_dispatcher.delivering.aside import set_aside_by, waiting
from tocsin_dispatcher.delivering.breaker_board import BoardChanges, BreakerBoard
from tocsin_dispatcher.delivering.candidates import Candidate, Candidates, Rules, user_of
from tocsin_dispatcher.delivering.digesting import leaving_aside, members_aside, told_together, verdict_on
from tocsin_dispatcher.delivering.tokens import one_more, wanted, without_token
from tocsin_dispatcher.delivering.way import Way
from tocsin_dispatcher.keys import DeliveryKey, UserKey
from tocsin_dispatcher.planning.gate import gate
from tocsin_dispatcher.planning.stages.rate_limits import owes_token
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.attempts import Beginning, SetAside, begin_attempts, set_aside
from tocsin_dispatcher.store.claims import Claimed, give_back
from tocsin_dispatcher.store.counters import take_tokens
from tocsin_dispatcher.store.database import Connection, Engine, in_transaction
from tocsin_dispatcher.store.digests import insert_digests, lock_claimed, take_out
from tocsin_dispatcher.store.fates import lock_before_ending, release_members
from tocsin_dispatcher.store.history import note_rechecked
from tocsin_dispatcher.store.locks import LOCKED_FOR, is_locked, locked_deliveries, locked_people, past_locks
from tocsin_dispatcher.values import AlertStanding, Counts, Delivery, GateCase, GateVerdict, Proceed, Recipient
from tocsin_kit.clock import Clock
from tocsin_kit.ids import Ids
from tocsin_kit.telemetry.metrics import Metrics

_log = structlog.get_logger(__name__)
_NEVER_JOINED = frozenset({DeliveryState.SUPPRESSED, DeliveryState.EXPIRED})
#: Of a batch that comes back because of a lock that none of them is known to have: so many, so far apart.
_GROUPS, _APART = 10, timedelta(milliseconds=500)
#: So many deliveries are named in the log.
_NAMED = 20


@dataclass(frozen=True, slots=True)
class Admitted:
    """A delivery whose attempt is written: it may be called for now."""

    claimed: Claimed
    recipient: Recipient
    provider: BreakerKey


@dataclass
class _Round:
    """What is decided about a batch, as it grows."""

    proceeding: list[tuple[Candidate, BreakerKey]] = field(default_factory=list)
    aside: list[SetAside] = field(default_factory=list)
    digests: list[Candidate] = field(default_factory=list)
    """New ones that leave, or wait for their provider."""
    leaving: list[tuple[DeliveryKey, UUID, datetime]] = field(default_factory=list)
    """Members that a stored digest tells no longer: see `take_out`."""


@dataclass(frozen=True)
class _Outcome:
    admitted: Sequence[Admitted]
    changes: Sequence[DeliveryChange]
    board: BoardChanges


class _MembersLost(Exception):
    """Members of a new digest are this claim's no longer: the rest is decided about once more."""

    def __init__(self, members: frozenset[UUID]) -> None:
        super().__init__("members of a digest are another's now")
        self.members = members


class Gatekeeper:
    """Lets a channel's deliveries pass, or sets them aside with a reason."""

    def __init__(
        self,
        engine: Engine,
        way: Way,
        board: BreakerBoard,
        announcer: Announcer,
        clock: Clock,
        ids: Ids,
        metrics: Metrics,
        rules: Rules,
    ) -> None:
        self._engine, self._way, self._board, self._announcer = engine, way, board, announcer
        self._clock, self._ids, self._metrics, self._rules = clock, ids, metrics, rules
        self._candidates = Candidates(way, board, rules)

    async def admit(self, claims: Sequence[Claimed], standings: Mapping[UUID, AlertStanding]) -> Sequence[Admitted]:
        """Those that may leave now, their attempts written. `standings` are the evaluator's, by firing id.

        Where somebody has locked a person's rows for long (a console, a replica that stands still), theirs are tried
        again after `LOCKED_FOR`, or, where it is the delivery itself, when the claim lapses. The others leave: all in
        one transaction, so that no attempt waits for another's.
        """
        try:
            return await self._admit(claims, standings)
        except Exception as error:
            if not is_locked(error):
                raise
        # Something that cannot be seen beforehand: a provider's breaker, a row that is being made. They come back in
        # groups, so that not all of them wait for it.
        self._say_locked("gate_locked", claims)
        await in_transaction(self._engine, lambda connection: self._spread(connection, claims))
        return []

    async def _spread(self, connection: Connection, claims: Sequence[Claimed]) -> None:
        """Give them back for after `LOCKED_FOR`, in groups of whole people that come due one after the other, those who
        wait for something critical first."""
        urgent = {user_of(one) for one in claims if one.notification.critical}
        users = sorted({user_of(one) for one in claims}, key=lambda user: (user not in urgent, user))
        size, now = -(-len(users) // _GROUPS), self._clock.now()
        for place in range(_GROUPS):
            group = frozenset(users[place * size : (place + 1) * size])
            due_at = now + LOCKED_FOR + place * _APART
            await give_back(connection, [one for one in claims if user_of(one) in group], due_at)

    async def _admit(self, claims: Sequence[Claimed], standings: Mapping[UUID, AlertStanding]) -> Sequence[Admitted]:
        admitted_by: list[BreakerKey] = []

        async def work(connection: Connection, leaving_out: bool) -> _Outcome:
            self._board.release(admitted_by)  # a run of this transaction that was rolled back
            admitted_by.clear()
            free = await self._without_locked(connection, claims) if leaving_out else claims
            return await self._decide(connection, free, standings, admitted_by)

        try:
            outcome = await past_locks(self._engine, work)
        except _MembersLost as lost:
            self._board.release(admitted_by)
            return await self._admit([one for one in claims if one.key.id not in lost.members], standings)
        except BaseException:
            self._board.release(admitted_by)
            raise
        self._board.wrote(outcome.board)
        self._announcer.wrote(outcome.changes)
        self._measure(outcome.admitted)
        return outcome.admitted

    async def _without_locked(self, connection: Connection, claims: Sequence[Claimed]) -> Sequence[Claimed]:
        """The claims that wait for nobody's lock; the others are given back."""
        people = await locked_people(connection, [user_of(one) for one in claims], self._way.channel)
        keys = [one.key for claimed in claims for one in (claimed, *claimed.members)]
        deliveries = await locked_deliveries(connection, keys)
        free, locked = list[Claimed](), list[Claimed]()
        for claimed in claims:
            touched = user_of(claimed) in people or any(one.key in deliveries for one in (claimed, *claimed.members))
            (locked if touched else free).append(claimed)
        if locked:
            self._say_locked("locked_by_others", locked)
            await give_back(connection, locked, self._clock.now() + LOCKED_FOR)
        return free

    def _say_locked(self, event: str, claims: Sequence[Claimed]) -> None:
        named = [str(one.delivery.id) for one in claims[:_NAMED]]
        _log.warning(event, channel=self._way.channel, deliveries=len(claims), delivery_ids=named)

    async def _decide(
        self,
        connection: Connection,
        claims: Sequence[Claimed],
        standings: Mapping[UUID, AlertStanding],
        admitted_by: list[BreakerKey],
    ) -> _Outcome:
        now = self._clock.now()
        candidates = await self._candidates.of(connection, claims, standings, now)
        decided = self._judge_all(candidates, now, admitted_by)
        await self._take_tokens(connection, decided, admitted_by)
        await self._lock(connection, decided, claims)
        await self._form_digests(connection, decided, claims, now)
        await take_out(connection, decided.leaving)
        begun = await self._begin(connection, decided, now, admitted_by)
        await note_rechecked(connection, _rechecked(claims, begun, standings), now)
        written = await set_aside(connection, decided.aside, now)
        await give_back(connection, _joining_nobody(claims, decided.aside, written), now)
        ended = [put.key for put in decided.aside if put.status in _NEVER_JOINED and put.key.id in written]
        released = await release_members(connection, ended, now)
        by_key = {one.key: one for claimed in claims for one in (claimed, *claimed.members)}
        changes = [change_of(one.claimed.delivery, DeliveryState.PENDING, None, now) for one in decided.digests]
        changes += [
            change_of(by_key[put.key].delivery, put.status, put.reason, now)
            for put in decided.aside
            if put.key.id in written and put.key in by_key and _is_told(by_key[put.key], put)
        ]
        changes += [change_of(delivery, DeliveryState.PENDING, None, now) for delivery in released]
        await self._announcer.add(connection, changes, now)
        return _Outcome(begun, changes, await self._board.write(connection))

    def _judge_all(self, candidates: Sequence[Candidate], now: datetime, admitted_by: list[BreakerKey]) -> _Round:
        """Gate all, digests as one each, on counts that include those of the batch that went before."""
        decided, counts = _Round(), dict[UserKey, Counts]()
        together = told_together(candidates, self._ids, now)
        decided.aside += leaving_aside(together.leaving)
        decided.leaving += [
            (member.claimed.key, digest.claimed.delivery.id, digest.claimed.leased_until)
            for digest, member, _ in together.leaving
        ]
        for candidate in together.candidates:
            self._judge(decided, candidate, counts, admitted_by)
        return decided

    def _judge(
        self, decided: _Round, candidate: Candidate, counts: dict[UserKey, Counts], admitted_by: list[BreakerKey]
    ) -> None:
        user, claimed = candidate.user, candidate.claimed
        candidate = candidate.with_counts(counts.get(user, candidate.case.recipient.counts))
        verdict = verdict_on(candidate)
        if not isinstance(verdict, Proceed):
            decided.aside += _stopped(candidate, verdict)
            return
        chain = self._way.chain_to(candidate.case.recipient.destination)
        provider = self._board.admit_first(chain, claimed.notification.critical)
        if candidate.is_new:
            decided.digests.append(candidate)
        if not isinstance(provider, BreakerKey):
            decided.aside.append(waiting(claimed, provider))
            return
        admitted_by.append(provider)
        decided.proceeding.append((candidate, provider))
        if owes_token(claimed.delivery):
            counts[user] = one_more(candidate.case.recipient.counts, claimed.notification.critical)

    def _give_back(self, provider: BreakerKey, admitted_by: list[BreakerKey]) -> None:
        """A call that was admitted is not made."""
        admitted_by.remove(provider)
        self._board.release([provider])

    async def _take_tokens(self, connection: Connection, decided: _Round, admitted_by: list[BreakerKey]) -> None:
        """Take the tokens that are owed. Another worker may have been faster: who got none is gated once more."""
        owing: dict[UserKey, list[Candidate]] = defaultdict(list)
        for candidate, _ in decided.proceeding:
            if owes_token(candidate.claimed.delivery):
                owing[candidate.user].append(candidate)
        wants = [wanted(candidates) for candidates in owing.values()]
        granted = await take_tokens(connection, self._way.channel, wants, self._rules.gate.critical_per_hour)
        without = {
            candidate.claimed.key: candidate.with_counts(granted[user].counts)
            for user, candidates in owing.items()
            for candidate in without_token(candidates, granted[user])
        }
        for candidate, provider in decided.proceeding:
            if candidate.claimed.key in without:
                self._give_back(provider, admitted_by)
                stopped = without[candidate.claimed.key]
                decided.aside += _stopped(stopped, gate(stopped.case))
        decided.proceeding = [entry for entry in decided.proceeding if entry[0].claimed.key not in without]
        decided.digests = [one for one in decided.digests if one.claimed.key not in without]

    async def _lock(self, connection: Connection, decided: _Round, claims: Sequence[Claimed]) -> None:
        """The inboxes first, as intake does: of users whose deliveries end here, join another, or leave a digest."""
        ending = [put.key for put in decided.aside if put.status in _NEVER_JOINED]
        merging = {put.key for put in decided.aside if put.status is DeliveryState.MERGED}
        leaving = {digest for _, digest, _ in decided.leaving}
        moving = [user_of(one) for one in claims if one.key in merging or one.delivery.id in leaving]
        await lock_before_ending(connection, ending, [*moving, *(one.user for one in decided.digests)])

    async def _form_digests(
        self, connection: Connection, decided: _Round, claims: Sequence[Claimed], now: datetime
    ) -> None:
        """Write new digests, and have their members join them. Raises _MembersLost."""
        if not decided.digests:
            return
        members = [member for digest in decided.digests for member in digest.claimed.members]
        ours = await lock_claimed(connection, members)
        lost = {member.key.id for member in members} - ours
        if lost:
            raise _MembersLost(frozenset(lost))
        made = [(one.claimed.delivery, one.claimed.leased_until) for one in decided.digests]
        await insert_digests(connection, made, now)
        decided.aside += [put for digest in decided.digests for put in members_aside(digest)]

    async def _begin(
        self, connection: Connection, decided: _Round, now: datetime, admitted_by: list[BreakerKey]
    ) -> list[Admitted]:
        beginnings = [_beginning(candidate, provider) for candidate, provider in decided.proceeding]
        lease = now + self._rules.lease
        begun = await begin_attempts(connection, beginnings, now, lease)
        for candidate, provider in decided.proceeding:
            if candidate.claimed.key.id not in begun:
                self._give_back(provider, admitted_by)
        return [
            Admitted(
                replace(candidate.claimed, delivery=_begun(candidate, provider), leased_until=lease),
                candidate.case.recipient,
                provider,
            )
            for candidate, provider in decided.proceeding
            if candidate.claimed.key.id in begun
        ]

    def _measure(self, admitted_now: Sequence[Admitted]) -> None:
        now = self._clock.now()
        for admitted in admitted_now:
            if admitted.claimed.delivery.attempt == 1:
                waited = (now - admitted.claimed.notification.fired_at).total_seconds()
                lane = admitted.claimed.delivery.work_class
                self._metrics.firing_to_attempt.labels(lane).observe(max(waited, 0.0))


def _stopped(candidate: Candidate, verdict: GateVerdict) -> list[SetAside]:
    """What is written of one that may not leave. A new digest is not written: its members go on waiting, each by
    itself, for what it waits for; those that need not (too many urgent ones do not keep others back) are due at once,
    as what is left of it."""
    if not candidate.is_new:
        return [set_aside_by(candidate.claimed, verdict)]
    counts = candidate.case.recipient.counts
    verdicts = [(one.claimed, gate(one.with_counts(counts).case)) for one in candidate.members]
    return [
        _due_again(claimed, candidate.case.now) if isinstance(one, Proceed) else set_aside_by(claimed, one)
        for claimed, one in verdicts
    ]


def _due_again(claimed: Claimed, now: datetime) -> SetAside:
    return SetAside(claimed.key, claimed.leased_until, DeliveryState.PENDING, claimed.delivery.reason, now)


def _beginning(candidate: Candidate, provider: BreakerKey) -> Beginning:
    claimed = candidate.claimed
    return Beginning(
        key=claimed.key,
        attempt=claimed.delivery.attempt,
        leased_until=claimed.leased_until,
        destination=_destination(candidate.case),
        provider=provider.provider,
        credential=provider.credential,
        possible_duplicate=claimed.possible_duplicate,
    )


def _rechecked(
    claims: Sequence[Claimed], begun: Sequence[Admitted], standings: Mapping[UUID, AlertStanding]
) -> list[DeliveryKey]:
    """Those that leave after the evaluator was heard, by themselves or in a new digest. Of a retry its attempts tell
    enough."""
    leaving = {one.key for admitted in begun for one in (admitted.claimed, *admitted.claimed.members)}
    return [
        one.key
        for one in claims
        if one.key in leaving and one.notification.id in standings and one.delivery.status is not DeliveryState.RETRYING
    ]


def _joining_nobody(
    claims: Sequence[Claimed], aside: Sequence[SetAside], written: frozenset[UUID]
) -> Sequence[Claimed]:
    """Those whose target ended while they were judged: they are judged once more, at once."""
    alone = {put.key for put in aside if put.status is DeliveryState.MERGED and put.key.id not in written}
    return [claimed for claimed in claims if claimed.key in alone]


def _is_told(claimed: Claimed, put: SetAside) -> bool:
    """Whether the state or the reason is another than before."""
    return (claimed.delivery.status, claimed.delivery.reason) != (put.status, put.reason)


def _destination(case: GateCase) -> str | None:
    contact, own = case.recipient.contact, case.recipient.destination
    if own is not None:
        return own.shown
    return None if contact is None else contact.address(case.delivery.channel)


def _begun(candidate: Candidate, provider: BreakerKey) -> Delivery:
    delivery = candidate.claimed.delivery
    return replace(
        delivery,
        status=DeliveryState.SENDING,
        reason=None,
        attempt=delivery.attempt + 1,
        destination=_destination(candidate.case),
        provider=provider.provider,
        token_taken=True,
    )
