"""Locks in the dispatcher's database at which its transactions stand until they are lifted.

They are triggers of this test's own, put into its database beside the product's: each waits for an advisory lock that
the test holds while the barrier is down. One before a statement stops a transaction before it has written; a deferred
one stops it in its commit: when the worker is killed there, the commit happens and nobody hears of it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import IntEnum

import asyncpg

_FUNCTION = """
CREATE FUNCTION stand_at_barrier() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_advisory_xact_lock_shared(TG_ARGV[0]::bigint); RETURN NULL; END $$
"""
_BEFORE = "CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION stand_at_barrier({key})"
_IN_COMMIT = """
CREATE CONSTRAINT TRIGGER {name} AFTER {event} ON {table} DEFERRABLE INITIALLY DEFERRED
   FOR EACH ROW EXECUTE FUNCTION stand_at_barrier({key})
"""
_STANDING = """
SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
 WHERE l.locktype = 'advisory' AND l.objid::bigint = $1 AND NOT l.granted
"""


class Barrier(IntEnum):
    """Where transactions can be made to stand; the number is the lock's."""

    BEFORE_INTAKE = 7001
    COMMIT_OF_INTAKE = 7002
    BEFORE_ATTEMPT = 7003
    COMMIT_OF_ATTEMPT = 7004
    BEFORE_OUTCOME = 7005
    COMMIT_OF_OUTCOME = 7006


_TRIGGERS = {
    Barrier.BEFORE_INTAKE: (_BEFORE, "INSERT", "notifications"),
    Barrier.COMMIT_OF_INTAKE: (_IN_COMMIT, "INSERT", "notifications"),
    Barrier.BEFORE_ATTEMPT: (_BEFORE, "INSERT", "attempts"),
    Barrier.COMMIT_OF_ATTEMPT: (_IN_COMMIT, "INSERT", "attempts"),
    Barrier.BEFORE_OUTCOME: (_BEFORE, "UPDATE", "attempts"),
    Barrier.COMMIT_OF_OUTCOME: (_IN_COMMIT, "UPDATE", "attempts"),
}


class Barriers:
    """The barriers of one database; `url` is its address as its administrator."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def build(self) -> None:
        """Put the triggers there, once."""
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(_FUNCTION)
            for barrier, (form, event, table) in _TRIGGERS.items():
                name = f"barrier_{barrier.value}"
                await connection.execute(form.format(name=name, event=event, table=table, key=barrier.value))
        finally:
            await connection.close()

    @asynccontextmanager
    async def down(self, barrier: Barrier | None) -> AsyncIterator[None]:
        """Transactions stand at the barrier while inside (or until the server ends). None: nothing is barred."""
        if barrier is None:
            yield
            return
        holder = await asyncpg.connect(self._url)
        try:
            await holder.execute("SELECT pg_advisory_lock($1)", barrier.value)
            yield
        finally:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await holder.close(timeout=5)

    async def standing(self, barrier: Barrier) -> int:
        """How many transactions stand there."""
        connection = await asyncpg.connect(self._url)
        try:
            return int(await connection.fetchval(_STANDING, barrier.value))
        finally:
            await connection.close()
