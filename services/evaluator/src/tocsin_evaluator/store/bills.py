"""Bills by their owners."""

from collections.abc import Iterable

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_evaluator.store.upserts import Key, key_arrays

# bills_by_user; locked in key order.
_LOCK = text("""
SELECT b.partner_id, b.id FROM bills b
WHERE (b.partner_id, b.user_id) IN (SELECT * FROM unnest(CAST(:partner_ids AS bigint[]), CAST(:ids AS bigint[])))
ORDER BY b.partner_id, b.id
FOR NO KEY UPDATE OF b
""")


async def lock_of_users(connection: AsyncConnection, users: Iterable[Key]) -> list[Key]:
    """Lock all bills of (partner, user), in key order; answers their keys."""
    arrays = key_arrays(users)
    if not arrays["ids"]:
        return []
    return [(partner, id_) for partner, id_ in await connection.execute(_LOCK, arrays)]
