"""Plans that are made once and kept, for a pool whose statements all go by key or by index.

Planning anew at each call costs PostgreSQL more than running such a statement, and whoever waits for it as long. But a
plan goes by the statistics of its day, and one of a young table may read the whole of it while it grows. So plans are
kept once the statistics know the tables, and for as long as none of these outgrows its own; else PostgreSQL chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import structlog
from sqlalchemy import Text, bindparam, event, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from tocsin_kit.postgres.engine import reads

#: How often the statistics are looked at: the server gathers them once a minute at most.
LOOK_EVERY = timedelta(seconds=10)
_log = structlog.get_logger(__name__)

# By oid. From 5,000 rows on of each table no plan that reads one whole looked cheap, from 2,000 on some did. Up to 50
# pages more than twice its own statistics a table may be: those are read in less than a millisecond.
_KNOWN = text("""
SELECT min(reltuples) >= 5000
       AND bool_and(pg_relation_size(oid) / current_setting('block_size')::int <= 2 * relpages + 50)
  FROM pg_class WHERE oid = ANY (CAST(:tables AS regclass[]))
""").bindparams(bindparam("tables", type_=ARRAY(Text)))

_SET = "SELECT set_config('plan_cache_mode', %s, false), set_config('enable_seqscan', %s, false)"
_KEPT = _SET % ("'force_generic_plan'", "'off'")
_CHOSEN = _SET % ("'auto'", "'on'")


class KeptPlans:
    """Says to the connections of `engine` how to plan; `round` is for a loop. `tables` are those that grow."""

    def __init__(self, engine: AsyncEngine, tables: Sequence[str]) -> None:
        self._reads, self._tables = reads(engine), list(tables)
        self._errors = engine.dialect.loaded_dbapi.Error
        self.are_kept = False
        event.listen(engine.sync_engine, "checkout", self._told)

    async def round(self) -> None:
        """Look whether the statistics know the tables. Connections hear of a change when they are next used."""
        async with self._reads.connect() as connection:
            known = bool(await connection.scalar(_KNOWN, {"tables": self._tables}))
        if known is not self.are_kept:
            self.are_kept = known
            _log.info("plans_are_kept" if known else "plans_are_chosen")

    def _told(self, opened: DBAPIConnection, entry: ConnectionPoolEntry, _lent: PoolProxiedConnection) -> None:
        if entry.info.get("plans_are_kept") is self.are_kept:
            return
        try:
            cursor = opened.cursor()
            cursor.execute(_KEPT if self.are_kept else _CHOSEN)
            cursor.execute("DISCARD PLANS")  # those that were made under the other rule
            cursor.close()
            opened.commit()
        except self._errors as error:
            # whoever was lent the connection meets the same, as an error that is known to them
            _log.warning("plans_not_told", error=type(error).__name__)
        else:
            entry.info["plans_are_kept"] = self.are_kept
