"""Bills on their way in, and those of people who moved to another zone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_evaluator.evaluation.due_days import renew
from tocsin_evaluator.facts.stored import bill_row
from tocsin_evaluator.model.facts import Bill
from tocsin_evaluator.store import bills
from tocsin_evaluator.store.bills import Owned
from tocsin_evaluator.store.upserts import Key, Put, put


@dataclass(frozen=True)
class Due:
    """What became of the bills that were brought, and the bills of people who moved."""

    done: Put
    of_movers: list[Owned]


async def take_bills(connection: AsyncConnection, brought: Sequence[Bill], movers: Iterable[Key], at: datetime) -> Due:
    """Write bills and work out their next due days, and those of people who moved.

    All of them are locked before the first is written, for the written ones may have higher ids than the others.
    """
    moved = set(movers)
    locked = await bills.lock(connection, [(each.partner_id, each.id) for each in brought], moved)
    done = await put(connection, [bill_row(each, at) for each in brought])
    of_movers = [each for each in locked if each.owner in moved]
    await renew(connection, [*[each.key for each in of_movers], *done.versions], at)
    return Due(done, of_movers)
