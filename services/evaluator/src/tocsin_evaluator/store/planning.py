"""How PostgreSQL plans the statements of a transaction."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_FOR_THESE = text(
    "SELECT set_config('plan_cache_mode', 'force_custom_plan', true),"
    " set_config('max_parallel_workers_per_gather', '0', true)"
)


async def plan_for_the_numbers_at_hand(connection: AsyncConnection) -> None:
    """Have each statement of this transaction planned for its own arrays and for the tables as large as they are.

    A prepared statement's general plan is made once, for ten rows and a table that may have been empty: it joined fifty
    thousand alerts row by row, and read a growing table whole for each purchase (2 s for a batch of 1,000). Planning
    costs 1 to 2 ms a transaction, which only large ones win back.

    Nor does one such transaction take the processors of the others: slices are what a sweep runs side by side.
    """
    await connection.execute(_FOR_THESE)
