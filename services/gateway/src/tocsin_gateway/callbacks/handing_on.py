"""The two jobs on callbacks: find those the dispatcher never got, and forget old ones."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from tocsin_gateway.store.ledger import CallbackLedger

#: Asks the dispatcher which of these it does not have; at most 1,000 at once.
FindUnknown = Callable[[Sequence[UUID]], Awaitable[Sequence[UUID]]]
#: A callback this young may still be on its way.
ON_ITS_WAY = timedelta(minutes=5)
ASK_AT_ONCE = 1000
DELETE_AT_ONCE = 1000


@dataclass(frozen=True)
class Audited:
    """What an audit saw."""

    asked: int
    handed_on_again: int


async def audit(ledger: CallbackLedger, find_unknown: FindUnknown, now: datetime) -> Audited:
    """Ask the dispatcher for every callback it has not confirmed, and hand on again what it does not know.

    A callback handed on again is asked for at the next audit, so nothing is forgotten and nothing is asked twice.
    """
    asked = again = 0
    last: tuple[datetime, UUID] | None = None
    while page := await ledger.unconfirmed(now - ON_ITS_WAY, ASK_AT_ONCE, last):
        last = page[-1]
        ids = [id_ for _, id_ in page]
        unknown = set(await find_unknown(ids))
        missing = [id_ for id_ in ids if id_ in unknown]
        await ledger.settle([id_ for id_ in ids if id_ not in unknown], missing, now)
        asked += len(ids)
        again += len(missing)
    return Audited(asked, again)


async def forget_old(ledger: CallbackLedger, now: datetime, kept: timedelta) -> int:
    """Delete callbacks older than `kept`, in small batches; answers how many."""
    total = 0
    while deleted := await ledger.forget_before(now - kept, DELETE_AT_ONCE):
        total += deleted
    return total
