"""Which local days of which zones the bills run has done."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# A walk along people_by_zone, one probe a zone.
_ZONES = text("""
WITH RECURSIVE zones AS (
  (SELECT time_zone FROM people ORDER BY time_zone LIMIT 1)
  UNION ALL
  SELECT (SELECT p.time_zone FROM people p WHERE p.time_zone > z.time_zone ORDER BY p.time_zone LIMIT 1)
  FROM zones z WHERE z.time_zone IS NOT NULL
)
SELECT time_zone, timezone(time_zone, CAST(:at AS timestamptz))
FROM (SELECT time_zone FROM zones WHERE time_zone IS NOT NULL UNION SELECT 'UTC') AS lived_in ORDER BY time_zone
""")

_CLAIM = text("""
INSERT INTO bill_days (zone, local_date, done_at, job_id) VALUES (:zone, :local_date, :at, :job_id)
ON CONFLICT DO NOTHING
""")

_IS_DONE = text("SELECT EXISTS (SELECT 1 FROM bill_days WHERE zone = :zone AND local_date = :local_date)")


async def local_times(connection: AsyncConnection, at: datetime) -> list[tuple[str, datetime]]:
    """Every zone somebody lives in with what its clocks show, and UTC, where people without a profile are.

    The database's word counts, for the condition goes by it: a program's own collection of clock changes may be of
    another year.
    """
    return [(zone, local) for zone, local in await connection.execute(_ZONES, {"at": at})]


async def is_done(connection: AsyncConnection, zone: str, local_date: date) -> bool:
    """Whether that day is done there."""
    return bool(await connection.scalar(_IS_DONE, {"zone": zone, "local_date": local_date}))


async def claim(connection: AsyncConnection, zone: str, local_date: date, job_id: UUID, at: datetime) -> bool:
    """Note that day as done, in the transaction that does it; False where another has."""
    parameters = {"zone": zone, "local_date": local_date, "job_id": job_id, "at": at}
    return (await connection.execute(_CLAIM, parameters)).rowcount == 1
