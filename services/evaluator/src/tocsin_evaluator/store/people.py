"""What is known of people: zone, currency, locale."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from sqlalchemy import BigInteger, Select, and_, bindparam, column, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_evaluator.store.planning import BY_INDEX
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


# A transaction's first statement: the same locks, the planning of what follows (`planning.BY_INDEX`), and the people by
# primary key, a probe each (LIMIT). The locks stand on the outer side of a left join: they are taken whoever is known.
_ENTER = text(f"""
WITH locks AS (
  SELECT pg_advisory_xact_lock(key) FROM (
    SELECT DISTINCT hashint8extended(user_id, partner_id) AS key
    FROM unnest(CAST(:spending_partners AS bigint[]), CAST(:spending_users AS bigint[])) AS users(partner_id, user_id)
    ORDER BY key) AS keys
)
SELECT p.partner_id, p.user_id, p.time_zone, p.version
FROM (SELECT count(*), {BY_INDEX} FROM locks) AS entered
LEFT JOIN (
  unnest(CAST(:partner_ids AS bigint[]), CAST(:ids AS bigint[])) AS users(partner_id, user_id)
  JOIN LATERAL (
    SELECT * FROM people WHERE partner_id = users.partner_id AND user_id = users.user_id LIMIT 1
  ) AS p ON true
) ON true
""")  # noqa: S608 - a constant of our own


async def enter(connection: AsyncConnection, users: Iterable[Key], spending: Iterable[Key]) -> dict[Key, Known]:
    """Begin an intake: `one_at_a_time` for `spending`, statements by index; answers what `known` does of `users`.

    One statement, for every round trip counts here. Its snapshot may be older than a lock it waited for: a profile
    that came in meanwhile is as though it came after.
    """
    in_order = sorted(set(spending))
    parameters: dict[str, object] = {
        **key_arrays(users),
        "spending_partners": [partner for partner, _ in in_order],
        "spending_users": [user for _, user in in_order],
    }
    rows = await connection.execute(_ENTER, parameters)
    return {(partner, user): Known(zone, version) for partner, user, zone, version in rows if partner is not None}


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
