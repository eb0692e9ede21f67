"""What is known of templates that failed at send time: counted, noted on their version, and left alone for a while."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from tocsin_dispatcher.store.database import Engine, in_transaction
from tocsin_dispatcher.store.templates import FailedVersion, note_failures
from tocsin_dispatcher.templating.children import Failure, FailureKind
from tocsin_dispatcher.templating.quarantine import Quarantine
from tocsin_dispatcher.values import ActiveTemplate
from tocsin_kit.clock import Clock
from tocsin_kit.loops import Bell
from tocsin_kit.telemetry.metrics import Metrics


class Failures:
    """Failures of this process. `bell` rings when there is something to write."""

    def __init__(self, engine: Engine, clock: Clock, metrics: Metrics, bell: Bell) -> None:
        self._engine, self._clock, self._metrics, self.bell = engine, clock, metrics, bell
        self._quarantine = Quarantine()
        self._unwritten: dict[tuple[int, UUID], FailedVersion] = {}

    def bars(self, template: ActiveTemplate) -> bool:
        """Whether it is not tried now."""
        return self._quarantine.bars(template.id, self._clock.now())

    def add(self, template: ActiveTemplate, failure: Failure) -> None:
        """It failed. That no process was free is counted, and no fault of the template's."""
        now = self._clock.now()
        self._metrics.template_failures.labels(template.slot.channel, failure.kind).inc()
        if failure.kind is FailureKind.BUSY:
            return
        self._quarantine.failed(template.id, now)
        key = template.partner_id, template.id
        before = self._unwritten.get(key)
        count = 1 if before is None else before.failures + 1
        self._unwritten[key] = FailedVersion(*key, count, now, _noted(failure))
        self.bell.set()

    async def round(self) -> datetime | None:
        """Note them on their versions."""
        failed = [self._unwritten[key] for key in sorted(self._unwritten)]
        if failed:
            await in_transaction(self._engine, lambda connection: note_failures(connection, failed))
        for one in failed:
            self._wrote(one)
        return None

    def _wrote(self, written: FailedVersion) -> None:
        key = written.partner_id, written.id
        now = self._unwritten[key]
        if now is written:
            del self._unwritten[key]
        else:
            failures = now.failures - written.failures
            self._unwritten[key] = FailedVersion(*key, failures, now.last_failed_at, now.last_failure)


def _noted(failure: Failure) -> str:
    """Where and what; not how Jinja says it, which may hold a person's values."""
    where = ", ".join(filter(None, (failure.part, f"line {failure.line}" if failure.line else "")))
    return f"{where}: {failure.kind}" if where else failure.kind.value
