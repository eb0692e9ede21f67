"""What became of messages nobody answered for: the provider is asked, where it can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin_dispatcher.delivering.way import Sent, Way
from tocsin_dispatcher.keys import DeliveryKey, UserKey
from tocsin_dispatcher.store.claims import Claimed
from tocsin_dispatcher.store.database import Engine
from tocsin_dispatcher.store.look_ups import Begun, attempts_begun, known_messages
from tocsin_dispatcher.store.recipients import Defaults, recipients
from tocsin_dispatcher.values import Attempt, Made, Outcome, OutcomeKind, Recipient, SmsMessage

_CANNOT_ASK = Outcome(OutcomeKind.TRANSIENT, answer="nobody can be asked")
_NEVER_ARRIVED = Outcome(OutcomeKind.TRANSIENT, answer="looked up: never arrived")
_NOT_SAID = Outcome(OutcomeKind.UNKNOWN, answer="the look-up failed")
_CLOCKS_DIFFER = timedelta(seconds=2)
"""A provider's dates are whole seconds, by its own clock."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A delivery whose last attempt nobody answered for, and what was sent then."""

    claimed: Claimed
    attempt: Attempt
    message: SmsMessage | None
    """None where it cannot be composed any more."""


@dataclass(frozen=True)
class LookUps:
    """Asks what became of messages. `call_limit` is how long a call may last; it begins within the `lease`."""

    engine: Engine
    way: Way
    defaults: Defaults
    call_limit: timedelta
    lease: timedelta

    def groups(self, claims: Sequence[Claimed]) -> list[Sequence[Claimed]]:
        """Those to one destination together: one of the provider's messages is not two deliveries'."""
        groups: dict[tuple[str | None, str | None], list[Claimed]] = {}
        for claimed in claims:
            groups.setdefault((claimed.delivery.provider, claimed.delivery.destination), []).append(claimed)
        return list(groups.values())

    async def ask(self, group: Sequence[Claimed]) -> list[Sent]:
        """What became of each of a group. Accepted or permanent: the provider had it; transient: it never had it;
        unknown: it could not say."""
        look_up, destination = self.way.look_up, group[0].delivery.destination
        lost = await self._lost(group)
        if not lost or look_up is None or destination is None:
            return [Sent(_CANNOT_ASK) for _ in group]
        made = await look_up.made(destination, min(lost.values(), key=_started).attempt)
        if made is None:
            return [Sent(_NOT_SAID) for _ in group]
        left = await self._left(list(lost.values()), made)
        theirs = matched(list(lost.values()), left, self.call_limit, self.lease)
        return [_sent(lost.get(claimed.key), theirs) for claimed in group]

    async def _lost(self, group: Sequence[Claimed]) -> Mapping[DeliveryKey, Lost]:
        async with self.engine.connect() as connection:
            begun = await attempts_begun(connection, [(one.key, one.delivery.attempt) for one in group])
            users = [UserKey(one.delivery.partner_id, one.delivery.user_id) for one in group]
            known = await recipients(connection, users, self.defaults)
        lost = {}
        for claimed, user in zip(group, users, strict=True):
            if claimed.key in begun:
                attempt = _attempt(claimed, begun[claimed.key])
                person = Recipient(known[user].contact, known[user].preferences, known[user].partner)
                message = self.way.text_message(claimed.notification, person, attempt.started_at)
                lost[claimed.key] = Lost(claimed, attempt, message)
        return lost

    async def _left(self, lost: Sequence[Lost], made: Sequence[Made]) -> list[Made]:
        """Without the messages that are known to be other deliveries'."""
        ours = {one.attempt.delivery_id for one in lost}
        async with self.engine.connect() as connection:
            known = await known_messages(connection, lost[0].attempt.provider, [one.provider_id for one in made])
        return [one for one in made if known.get(one.provider_id, ours) <= ours]


def matched(
    lost: Sequence[Lost], made: Sequence[Made], call_limit: timedelta, lease: timedelta
) -> Mapping[DeliveryKey, Made]:
    """Whose messages these are, each at most one delivery's, in the order in which the attempts began: those of the
    same words made within the lease, and where no words can be compared (the text cannot be composed any more, the
    provider keeps none) the earliest that was made within a call. One of other words is somebody else's, and the text
    it is not was never taken."""
    found: dict[DeliveryKey, Made] = {}
    left = sorted(made, key=lambda one: one.at)
    for by_words in (True, False):
        for one in sorted(lost, key=_started):
            if one.claimed.key in found:
                continue
            for message in left:
                is_its = _same_words(one, message) if by_words else _without_words(one, message)
                if is_its and _in_time(one.attempt, message.at, lease if by_words else call_limit):
                    found[one.claimed.key] = message
                    left.remove(message)
                    break
    return found


def _started(lost: Lost) -> datetime:
    return lost.attempt.started_at


def _in_time(attempt: Attempt, at: datetime, limit: timedelta) -> bool:
    return attempt.started_at - _CLOCKS_DIFFER <= at <= attempt.started_at + limit + _CLOCKS_DIFFER


def _same_words(lost: Lost, made: Made) -> bool:
    """A provider may add words of its own: a trial account's texts begin with some."""
    return lost.message is not None and lost.message.text in made.text


def _without_words(lost: Lost, made: Made) -> bool:
    return lost.message is None or not made.text.strip()


def _sent(lost: Lost | None, theirs: Mapping[DeliveryKey, Made]) -> Sent:
    if lost is None:
        return Sent(_CANNOT_ASK)
    found = theirs.get(lost.claimed.key)
    if found is None:
        return Sent(_NEVER_ARRIVED)
    return Sent(found.outcome, None if lost.message is None else lost.message.size)


def _attempt(claimed: Claimed, begun: Begun) -> Attempt:
    delivery = claimed.delivery
    return Attempt(
        partner_id=delivery.partner_id,
        delivery_id=delivery.id,
        number=delivery.attempt,
        provider=begun.provider,
        credential=begun.credential,
        started_at=begun.started_at,
        possible_duplicate=begun.possible_duplicate,
        traceparent=delivery.traceparent,
        tracestate=delivery.tracestate,
    )
