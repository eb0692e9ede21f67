"""How PostgreSQL plans the statements of a transaction."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

#: What an intake's first statement selects: the others go by index, with plans that are made once and kept. Planning
#: took a third of a small transaction, and by index a fact costs the same in a batch of one as of 1,000.
#:
#: A plan that is kept goes by the numbers of its day. In a young table they tell nothing, any index is as good, and it
#: would read the whole of it for each fact while it grows: until the statistics know enough transactions, and while one
#: of the large tables has outgrown its own, each batch is planned anew.
BY_INDEX = """
set_config('enable_seqscan', 'off', true),
set_config('plan_cache_mode', CASE WHEN EXISTS (
  SELECT 1 FROM pg_class WHERE oid = 'transactions'::regclass AND reltuples < 10000
    OR oid IN ('transactions'::regclass, 'alerts'::regclass) AND pg_relation_size(oid) / 8192 > 2 * relpages + 500
) THEN 'force_custom_plan' ELSE 'force_generic_plan' END, true)
"""

_FOR_THESE = text(
    "SELECT set_config('plan_cache_mode', 'force_custom_plan', true),"
    " set_config('max_parallel_workers_per_gather', '0', true)"
)


async def plan_for_the_numbers_at_hand(connection: AsyncConnection) -> None:
    """Have each statement of this transaction planned for its own numbers and for the tables as large as they are.

    So it is for a slice or a zone: whether few or many of its alerts are true makes another plan the best. What others
    run leaves no plan behind that intake would go by. Nor does one such transaction take the processors of the others:
    slices are what a sweep runs side by side.
    """
    await connection.execute(_FOR_THESE)
