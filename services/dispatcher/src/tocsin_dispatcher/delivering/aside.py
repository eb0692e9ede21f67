"""What is written of a delivery that does not leave now: held, ended, or waiting for a provider."""

from __future__ import annotations

from datetime import timedelta

from tocsin_dispatcher.breakers import PROBE_PAUSE
from tocsin_dispatcher.delivering.breaker_board import AllOpen, Paced
from tocsin_dispatcher.planning.plan import fact_key
from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.attempts import SetAside
from tocsin_dispatcher.store.claims import Claimed
from tocsin_dispatcher.values import Expire, GateVerdict, Hold, Merge, Proceed, Suppress

_AFTER_THE_UNTRIED = 5 * PROBE_PAUSE
"""By so much later a delivery that was tried asks an open breaker again, in whatever class or replica: first the two
probes that close it and what waited, none of which was refused."""


def set_aside_by(claimed: Claimed, verdict: GateVerdict) -> SetAside:
    """As the gate says."""
    match verdict:
        case Hold():
            return SetAside(
                claimed.key,
                claimed.leased_until,
                DeliveryState.HELD,
                verdict.reason,
                verdict.until,
                verdict.expires_at,
            )
        case Suppress():
            return SetAside(claimed.key, claimed.leased_until, DeliveryState.SUPPRESSED, verdict.reason, None)
        case Expire():
            return SetAside(claimed.key, claimed.leased_until, DeliveryState.EXPIRED, verdict.reason, None)
        case Merge():
            return SetAside(
                claimed.key,
                claimed.leased_until,
                DeliveryState.MERGED,
                verdict.reason,
                None,
                merged_into=verdict.into,
                fact_key=fact_key(claimed.notification.context, claimed.delivery.channel),
            )
        case Proceed():
            raise AssertionError("counts that leave no token cannot let it proceed")


def waiting(claimed: Claimed, refused: AllOpen | Paced) -> SetAside:
    """No provider may be called: it waits in its state, and burns no retry."""
    before = claimed.delivery.status
    status = DeliveryState.RETRYING if before is DeliveryState.RETRYING else DeliveryState.PENDING
    until, reason = refused.until, None
    if isinstance(refused, AllOpen):
        until += _AFTER_THE_UNTRIED if claimed.delivery.attempt else timedelta()
        reason = Reason.BREAKER_OPEN
    return SetAside(claimed.key, claimed.leased_until, status, reason, min(until, claimed.delivery.expires_at))
