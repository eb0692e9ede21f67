"""What became of a message nobody answered for: the provider is asked, where it can be."""

from __future__ import annotations

from tocsin_dispatcher.delivering.way import Way
from tocsin_dispatcher.store.claims import Claimed
from tocsin_dispatcher.store.database import Engine
from tocsin_dispatcher.store.look_ups import attempt_begun, is_taken
from tocsin_dispatcher.values import Attempt, Outcome, OutcomeKind

_NEVER_ARRIVED = Outcome(OutcomeKind.TRANSIENT, answer="nobody can be asked")


async def looked_up(engine: Engine, way: Way, claimed: Claimed) -> Outcome:
    """Accepted or permanent: it had the message; transient: it never had it; unknown: it could not say.

    Messages that other deliveries are known by are not this one's: they are left out one by one.
    """
    delivery = claimed.delivery
    async with engine.connect() as connection:
        begun = await attempt_begun(connection, claimed.key, delivery.attempt)
    if begun is None or way.look_up is None or delivery.destination is None:
        return _NEVER_ARRIVED
    provider, credential, started_at, marked = begun
    attempt = Attempt(
        partner_id=delivery.partner_id,
        delivery_id=delivery.id,
        number=delivery.attempt,
        provider=provider,
        credential=credential,
        started_at=started_at,
        possible_duplicate=marked,
        traceparent=delivery.traceparent,
        tracestate=delivery.tracestate,
    )
    taken: frozenset[str] = frozenset()
    while True:
        found = await way.look_up.find(delivery.destination, attempt, taken)
        if found.provider_id is None or found.provider_id in taken:
            return found
        async with engine.connect() as connection:
            if not await is_taken(connection, provider, found.provider_id, delivery.id):
                return found
        taken |= {found.provider_id}
