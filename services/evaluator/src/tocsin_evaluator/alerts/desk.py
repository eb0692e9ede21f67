"""Creating, changing and deleting alerts; each is evaluated once after its commit."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_evaluator.evaluation.person import PersonEvaluation
from tocsin_evaluator.model.alerts import Alert, Outcome, Wish
from tocsin_evaluator.model.facts import Trace
from tocsin_evaluator.model.words import KindName
from tocsin_evaluator.store import alerts
from tocsin_evaluator.store.alert_history import history
from tocsin_evaluator.store.alerts import Change, StoredAlert
from tocsin_evaluator.store.tables import idempotency_keys
from tocsin_kit.clock import Clock
from tocsin_kit.postgres.engine import in_transaction
from tocsin_kit.postgres.idempotency import RequestKey, remember


@dataclass(frozen=True)
class Owner:
    """Whose alerts a call is about."""

    partner_id: int
    user_id: int


@dataclass(frozen=True)
class Once:
    """How to recognise a request that is sent again."""

    key: RequestKey
    request_hash: bytes


class AlertIsInactive(Exception):
    """The alert is switched off: it is not evaluated."""


@dataclass(frozen=True)
class Desk:
    """What owners do with their alerts. Answers None where the owner has no such alert."""

    engine: AsyncEngine
    clock: Clock
    evaluation: PersonEvaluation
    _evaluating: set[asyncio.Task[None]] = field(default_factory=set, init=False, repr=False, compare=False)

    async def create(self, owner: Owner, wish: Wish, once: Once, trace: Trace) -> Alert:
        """Create an alert and evaluate it. A repeated request gets the alert it made. Raises IdempotencyConflict."""

        async def work(connection: AsyncConnection) -> int:
            now = self.clock.now()

            async def make() -> bytes:
                return str(await alerts.create(connection, owner.partner_id, owner.user_id, wish, now)).encode()

            return int(await remember(connection, idempotency_keys, once.key, once.request_hash, now, make))

        alert_id = await in_transaction(self.engine, work)
        await self._evaluate_edit(owner, alert_id, wish.kind, trace)
        made = await self.get(owner, alert_id)
        if made is None:  # made before by the same request, and deleted since
            return await self._as_first_answered(owner, alert_id, wish)
        return made

    async def _as_first_answered(self, owner: Owner, alert_id: int, wish: Wish) -> Alert:
        now = self.clock.now()
        return Alert(owner.partner_id, alert_id, owner.user_id, wish, 1, None, 0, None, 0, now, now)

    async def change(self, owner: Owner, alert_id: int, changed: Callable[[Wish], Wish], trace: Trace) -> Alert | None:
        """Apply `changed` to what is stored, and evaluate the result. What `changed` raises ends the change."""

        async def work(connection: AsyncConnection) -> KindName | None:
            found = await alerts.get(connection, owner.partner_id, owner.user_id, alert_id, for_change=True)
            if found is None:
                return None
            now = self.clock.now()
            edit = _edit(found, changed(found.wish), now)
            await alerts.change(connection, found, edit, now)
            return edit.wish.kind

        kind = await in_transaction(self.engine, work)
        if kind is None:
            return None
        await self._evaluate_edit(owner, alert_id, kind, trace)
        return await self.get(owner, alert_id)

    async def _evaluate_edit(self, owner: Owner, alert_id: int, kind: KindName, trace: Trace) -> None:
        """Evaluate what the edit says is to be evaluated; a caller that goes away does not end it."""
        task = asyncio.create_task(self.evaluation.after_edit(owner.partner_id, alert_id, kind, trace))
        self._evaluating.add(task)
        task.add_done_callback(self._evaluating.discard)
        await asyncio.shield(task)

    async def delete(self, owner: Owner, alert_id: int) -> bool:
        """Delete softly; False where the owner has no such alert."""
        now = self.clock.now()
        return await in_transaction(
            self.engine,
            lambda connection: alerts.delete(connection, owner.partner_id, owner.user_id, alert_id, now),
        )

    async def get(self, owner: Owner, alert_id: int) -> Alert | None:
        """One alert."""
        async with self.engine.connect() as connection:
            found = await alerts.get(connection, owner.partner_id, owner.user_id, alert_id)
            return None if found is None else (await _with_history(connection, [found]))[0]

    async def page(
        self, owner: Owner, kind: KindName | None, active: bool | None, before: int | None, size: int
    ) -> list[Alert]:
        """The owner's alerts with ids below `before`, newest first."""
        async with self.engine.connect() as connection:
            found = await alerts.page(
                connection, owner.partner_id, owner.user_id, kind=kind, active=active, before=before, size=size
            )
            return await _with_history(connection, found)

    async def evaluate(self, owner: Owner, alert_id: int, trace: Trace) -> Outcome | None:
        """Evaluate an alert now. Raises AlertIsInactive."""
        async with self.engine.connect() as connection:
            found = await alerts.get(connection, owner.partner_id, owner.user_id, alert_id)
        if found is None:
            return None
        if not found.wish.active:
            raise AlertIsInactive
        return await self.evaluation.of_alert(owner.partner_id, alert_id, found.wish.kind, trace)


def _edit(found: StoredAlert, wish: Wish, now: datetime) -> Change:
    """What an edit means. A snooze that is ended early ends now, and one that is over is not moved back: what it slept
    through stays gone.
    """
    before = found.wish
    if before.snoozed_until is not None:
        slept_until = min(before.snoozed_until, now)
        wish = replace(wish, snoozed_until=max(wish.snoozed_until or slept_until, slept_until))
    is_new = wish.condition != before.condition
    woken = wish.active and not before.active
    return Change(wish, is_new, now if is_new or woken else None)


async def _with_history(connection: AsyncConnection, found: Sequence[StoredAlert]) -> list[Alert]:
    if not found:
        return []
    histories = await history(connection, found)
    return [
        Alert(
            partner_id=each.partner_id,
            id=each.id,
            user_id=each.user_id,
            wish=each.wish,
            condition_version=each.condition_version,
            last_triggered_at=each.last_triggered_at,
            trigger_count=each.trigger_count,
            last_evaluated_at=histories[each.key].last_evaluated_at,
            evaluation_count=histories[each.key].evaluation_count,
            created_at=each.created_at,
            updated_at=each.updated_at,
        )
        for each in found
        if each.key in histories
    ]
