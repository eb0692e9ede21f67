"""The job `dispatch.retention`: how long things live (data model)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from tocsin_dispatcher.store.database import Engine, in_transaction
from tocsin_dispatcher.store.retention import archive, forget
from tocsin_kit.clock import Clock
from tocsin_kit.messaging.jobs import JobOrder, Progress


@dataclass(frozen=True)
class Retention:
    """Hides old notifications and forgets what is older still. `keep` is by the names in `store.retention.FORGET`."""

    engine: Engine
    clock: Clock
    archive_after: timedelta
    keep: Mapping[str, timedelta]

    async def __call__(self, _order: JobOrder, progress: Progress) -> dict[str, int]:
        """Answers how many batches of each were forgotten, and how many notifications hidden."""
        now = self.clock.now()
        counts = {"archived": 0}
        while hidden := await in_transaction(
            self.engine, lambda connection: archive(connection, now - self.archive_after, now)
        ):
            counts["archived"] += hidden
        for done, (what, age) in enumerate(self.keep.items(), 1):
            counts[what] = await self._forget(what, age)
            await progress(done, len(self.keep))
        return counts

    async def _forget(self, what: str, age: timedelta) -> int:
        before, batches = self.clock.now() - age, 1
        while await in_transaction(self.engine, lambda connection: forget(connection, what, before)):
            batches += 1
        return batches
