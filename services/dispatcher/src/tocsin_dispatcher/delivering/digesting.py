"""Candidates that leave as one: those that were held and are due together, and digests that are tried once more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from tocsin_dispatcher.delivering.aside import set_aside_by
from tocsin_dispatcher.delivering.candidates import Candidate
from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.planning.digests import are_a_digest, digest_of, digest_told, may_join, waits_together
from tocsin_dispatcher.planning.gate import gate, gate_before_a_digest, gate_member
from tocsin_dispatcher.planning.plan import fact_key
from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.attempts import SetAside
from tocsin_dispatcher.store.claims import Claimed, give_back
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.digests import Together, claim_others, in_a_round, members_of
from tocsin_dispatcher.values import Channel, GateVerdict, Hold, Proceed, Purpose, Suppress
from tocsin_kit.ids import Ids


async def whole_digests(
    connection: Connection, channel: Channel, claims: list[Claimed], now: datetime, leased_until: datetime
) -> list[Claimed]:
    """The claims with what leaves together with them, and digests with their members. In the claims' transaction."""
    claims = await _with_others(connection, channel, claims, now, leased_until)
    digests = [one for one in claims if one.delivery.purpose is Purpose.DIGEST]
    if not digests:
        return claims
    members = await members_of(connection, digests)
    return [_telling(one, members[one.key]) if one.key in members else one for one in claims]


async def _with_others(
    connection: Connection, channel: Channel, claims: list[Claimed], now: datetime, leased_until: datetime
) -> list[Claimed]:
    """The claims with what leaves together with them. Those of people with whom it would be too much go back: they
    leave in another round, in which they bring all of theirs."""
    firsts = [one for one in claims if waits_together(one.delivery)]
    people = await in_a_round(connection, channel, list(dict.fromkeys(map(together, firsts))), now)
    later = [one for one in firsts if together(one) not in people]
    await give_back(connection, later, now)
    others = await claim_others(connection, channel, people, now, leased_until)
    return [one for one in claims if one not in later] + others


def together(claimed: Claimed) -> Together:
    """With whose other messages it may leave as one."""
    delivery = claimed.delivery
    return Together(UserKey(delivery.partner_id, delivery.user_id), delivery.destination_id)


@dataclass
class Sorted:
    """A batch's candidates, digests among them, in the order in which they may leave."""

    candidates: list[Candidate] = field(default_factory=list)
    leaving: list[tuple[Candidate, Candidate, GateVerdict]] = field(default_factory=list)
    """Members that a stored digest tells no longer, the digest, and why."""


def told_together(candidates: Sequence[Candidate], ids: Ids, now: datetime) -> Sorted:
    """Put those that are due together into digests, and look at the members of digests that are stored."""
    groups: dict[Together, list[Candidate]] = {}
    outcome = Sorted()
    for candidate in candidates:
        if candidate.claimed.delivery.purpose is Purpose.DIGEST:
            _keep_what_stands(outcome, candidate)
        elif _joins(candidate):
            groups.setdefault(together(candidate.claimed), []).append(candidate)
        else:
            outcome.candidates.append(candidate)
    for members in groups.values():
        is_one = are_a_digest([one.claimed.notification for one in members])
        outcome.candidates += [_digest(members, ids, now)] if is_one else members
    outcome.candidates.sort(key=lambda one: one.turn)
    return outcome


def members_aside(digest: Candidate) -> list[SetAside]:
    """The members of a new digest, merged into it."""
    return [
        SetAside(
            one.claimed.key,
            one.claimed.leased_until,
            DeliveryState.MERGED,
            Reason.MERGED,
            None,
            merged_into=digest.claimed.delivery.id,
        )
        for one in digest.members
    ]


def leaving_aside(leaving: Iterable[tuple[Candidate, Candidate, GateVerdict]]) -> list[SetAside]:
    """What becomes of members that are told no longer; they are claimed as their digest is. They end, and have their
    facts again, which `take_out` took from them."""
    return [
        replace(set_aside_by(member.claimed, verdict), fact_key=_fact_of(member.claimed))
        for _, member, verdict in leaving
    ]


def _fact_of(claimed: Claimed) -> str | None:
    return fact_key(claimed.notification.context, claimed.delivery.channel)


def verdict_on(candidate: Candidate) -> GateVerdict:
    """The gate's, but that a digest whose members have all left it has nothing to wait for."""
    verdict = gate(candidate.case)
    is_empty = candidate.claimed.delivery.purpose is Purpose.DIGEST and not candidate.members
    return Suppress(Reason.NO_LONGER_TRUE) if is_empty and isinstance(verdict, Proceed | Hold) else verdict


def _joins(candidate: Candidate) -> bool:
    claimed = candidate.claimed
    passes = isinstance(gate_before_a_digest(candidate.case), Proceed)
    return may_join(claimed.delivery, claimed.notification) and passes


def _digest(members: Sequence[Candidate], ids: Ids, now: datetime) -> Candidate:
    """A new digest of these; one of them tells what is known of their person."""
    claims = tuple(one.claimed for one in members)
    delivery = digest_of(ids.uuid7(), [one.delivery for one in claims], now)
    told = digest_told(delivery, [one.notification for one in claims])
    claimed = Claimed(delivery, told, claims[0].leased_until, possible_duplicate=False, members=claims)
    first = members[0]
    case = replace(first.case, delivery=delivery, notification=told)
    return Candidate(claimed, case, min(one.turn for one in members), tuple(members), is_new=True)


def _keep_what_stands(outcome: Sorted, digest: Candidate) -> None:
    """A stored digest with those members that may still be told. Without any it has nothing to tell."""
    verdicts = [(member, gate_member(member.case)) for member in digest.members]
    gone = [(digest, member, verdict) for member, verdict in verdicts if not isinstance(verdict, Proceed)]
    stays = tuple(member for member, verdict in verdicts if isinstance(verdict, Proceed))
    outcome.leaving += gone
    claimed = _telling(digest.claimed, tuple(member.claimed for member in stays))
    case = replace(digest.case, notification=claimed.notification)
    outcome.candidates.append(replace(digest, claimed=claimed, case=case, members=stays))


def _telling(digest: Claimed, members: tuple[Claimed, ...]) -> Claimed:
    told = digest_told(digest.delivery, [one.notification for one in members])
    return replace(digest, notification=told, members=members)
