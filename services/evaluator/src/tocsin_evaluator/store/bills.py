"""Bills by key and by their owners."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_evaluator.store.upserts import Key, key_arrays


@dataclass(frozen=True)
class Owned:
    """A bill's key and its owner's, each led by the partner."""

    key: Key
    owner: Key


# bills_by_user, then the primary key: all that a transaction will write is locked at once, in key order.
LOCK = text("""
WITH wanted AS (
  SELECT b.partner_id, b.id
  FROM unnest(CAST(:user_partners AS bigint[]), CAST(:users AS bigint[])) AS u(partner_id, user_id)
  JOIN bills b ON b.partner_id = u.partner_id AND b.user_id = u.user_id
  UNION
  SELECT * FROM unnest(CAST(:partner_ids AS bigint[]), CAST(:ids AS bigint[]))
)
SELECT b.partner_id, b.id, b.user_id
FROM wanted w JOIN bills b ON b.partner_id = w.partner_id AND b.id = w.id
ORDER BY b.partner_id, b.id
FOR NO KEY UPDATE OF b
""")


async def lock(connection: AsyncConnection, keys: Iterable[Key], users: Iterable[Key]) -> list[Owned]:
    """Lock these bills and all bills of (partner, user), in key order; answers those that are there."""
    of_users = key_arrays(users)
    arrays = {**key_arrays(keys), "user_partners": of_users["partner_ids"], "users": of_users["ids"]}
    if not arrays["ids"] and not arrays["users"]:
        return []
    return [Owned((partner, id_), (partner, user)) for partner, id_, user in await connection.execute(LOCK, arrays)]
