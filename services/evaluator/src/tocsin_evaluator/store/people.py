"""What is known of people: zone, currency, locale."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from sqlalchemy import BigInteger, Select, and_, bindparam, column, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_evaluator.store.tables import people
from tocsin_evaluator.store.upserts import Key, key_arrays


@dataclass(frozen=True)
class Known:
    """A person as far as evaluation needs to know."""

    time_zone: str
    version: int


@cache
def _zones() -> Select[int, int, str, int]:
    arrays = [bindparam(name, type_=ARRAY(BigInteger)) for name in ("partner_ids", "ids")]
    shape = [column("partner_id", BigInteger), column("id", BigInteger)]
    keys = func.unnest(*arrays).table_valued(*shape, name="keys").render_derived()
    same = and_(people.c.partner_id == keys.c.partner_id, people.c.user_id == keys.c.id)
    return select(people.c.partner_id, people.c.user_id, people.c.time_zone, people.c.version).select_from(
        keys.join(people, same)
    )


# Advisory, for a user's first purchase has no row to lock; asked for in order, before anything else is locked. A
# transaction takes at most 1,000, and a replica runs one at a time: the lock table has room for 64 a connection.
_ONE_AT_A_TIME = text("""
SELECT pg_advisory_xact_lock(key) FROM (
  SELECT DISTINCT hashint8extended(user_id, partner_id) AS key
  FROM unnest(CAST(:partner_ids AS bigint[]), CAST(:ids AS bigint[])) AS users(partner_id, user_id)
  ORDER BY key) AS keys
""")


async def one_at_a_time(connection: AsyncConnection, users: Iterable[Key]) -> None:
    """Wait until no other transaction writes purchases or budgets of these (partner, user), and keep others out.

    Forms of one purchase find each other, and a new budget finds its purchases, in any order and on any account.
    """
    arrays = key_arrays(users)
    if arrays["ids"]:
        await connection.execute(_ONE_AT_A_TIME, arrays)


async def known(connection: AsyncConnection, users: Iterable[Key]) -> dict[Key, Known]:
    """Those of the users of whom a profile came, by primary key."""
    rows = await connection.execute(_zones(), key_arrays(users))
    return {(partner, user): Known(zone, version) for partner, user, zone, version in rows}


async def database_zones(connection: AsyncConnection) -> frozenset[str]:
    """The time zones PostgreSQL knows: one it does not know would fail every statement that meets it."""
    return frozenset((await connection.execute(text("SELECT name FROM pg_timezone_names"))).scalars())
