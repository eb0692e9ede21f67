"""What a bank does with its versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from tocsin_dispatcher.store import templates as store
from tocsin_dispatcher.store.choices import get_partner
from tocsin_dispatcher.store.database import Connection, Engine, in_transaction
from tocsin_dispatcher.store.deliveries import note
from tocsin_dispatcher.store.notifications import Place
from tocsin_dispatcher.store.recipients import Defaults
from tocsin_dispatcher.store.tables import idempotency_keys
from tocsin_dispatcher.store.templates import WantedTemplates
from tocsin_dispatcher.templating.active import ActiveTemplates
from tocsin_dispatcher.templating.checking import Checks, as_sent
from tocsin_dispatcher.templating.examples import reader
from tocsin_dispatcher.values import Channel, Part, Slot, Sources, TemplateVersion
from tocsin_kit.clock import Clock
from tocsin_kit.ids import Ids
from tocsin_kit.postgres.idempotency import RequestKey, remember
from tocsin_kit.rpc.errors import not_found, state_conflict

MOST_IN_FORCE = 8 * 1024 * 1024
"""Bytes of a bank's sources: every replica keeps them, beside those of other banks."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a version makes of values; a text message as it is sent, with its segments."""

    parts: Mapping[str, str]
    segments: int


@dataclass(frozen=True)
class Versions:
    """Adds, shows and activates; every call names the bank whose they are."""

    engine: Engine
    clock: Clock
    ids: Ids
    checks: Checks
    active: ActiveTemplates
    defaults: Defaults

    async def add(
        self, partner_id: int, slot: Slot, name: str, sources: Sources, subject: str, once: RequestKey, hashed: bytes
    ) -> TemplateVersion:
        """Add a version. A repeated request gets the one that it added. Raises Unfit, IdempotencyConflict."""
        variables, now, id_ = await self.checks.variables(partner_id, slot, sources), self.clock.now(), self.ids.uuid7()

        async def work(connection: Connection) -> TemplateVersion:
            async def make() -> bytes:
                await store.lock_bank(connection, partner_id)
                await store.insert(connection, partner_id, id_, slot, name, sources, variables, now, subject)
                return id_.bytes

            made = UUID(bytes=await remember(connection, idempotency_keys, once, hashed, now, make))
            return await _found(connection, partner_id, made)

        return await in_transaction(self.engine, work)

    async def get(self, partner_id: int, id_: UUID) -> TemplateVersion:
        """A version. Raises not_found."""
        async with self.engine.connect() as connection:
            return await _found(connection, partner_id, id_)

    async def page(
        self, partner_id: int, wanted: WantedTemplates, size: int, after: Place | None
    ) -> Sequence[TemplateVersion]:
        """A page, newest first."""
        async with self.engine.connect() as connection:
            return await store.page(connection, partner_id, wanted, size, after)

    async def preview(
        self, partner_id: int, id_: UUID, locale: str, values: Mapping[str, str], hide_amounts: bool
    ) -> Preview:
        """What a version makes of the example, with `values` in place of its own.

        Raises not_found, NoSuchValue, Unfit.
        """
        version = await self.get(partner_id, id_)
        to = reader(locale or version.slot.locale or "en-US", hide_amounts)
        told = self.checks.example(version.slot.kind, values, replace(to, hide_amounts=False))
        parts = await self.checks.rendered(version, told, to)
        if version.slot.channel is not Channel.SMS:
            return Preview(parts, 0)
        words, count = as_sent(parts[Part.TEXT], await self._sms_segments(partner_id))
        return Preview({Part.TEXT: words}, count)

    async def activate(self, partner_id: int, id_: UUID, subject: str) -> TemplateVersion:
        """Put a version in force, once it is checked.

        Raises not_found, Unfit, state_conflict where the bank would have too much in force.
        """
        version = await self.get(partner_id, id_)
        await self.checks.check(version, await self._sms_segments(partner_id))

        async def work(connection: Connection) -> TemplateVersion:
            await store.lock_bank(connection, partner_id)
            activated = await store.activate(connection, partner_id, id_, self.clock.now())
            if await store.size_in_force(connection, partner_id) > MOST_IN_FORCE:
                raise state_conflict(f"more than {MOST_IN_FORCE // 2**20} MB would be in force: roll some others back")
            await self._changed(connection, partner_id, id_, subject, "activate_template")
            return activated

        activated = await in_transaction(self.engine, work)
        self.active.changed(partner_id)
        return activated

    async def roll_back(self, partner_id: int, id_: UUID, subject: str) -> TemplateVersion | None:
        """End an active version; answers the one before it, which is in force again, None where it is the built-in one.

        Raises not_found, state_conflict where the version is not active.
        """

        async def work(connection: Connection) -> TemplateVersion | None:
            await store.lock_bank(connection, partner_id)
            if not (await _found(connection, partner_id, id_)).active:
                raise state_conflict("only an active version can be rolled back")
            before = await store.roll_back(connection, partner_id, id_, self.clock.now())
            await self._changed(connection, partner_id, id_, subject, "roll_back_template")
            return before

        before = await in_transaction(self.engine, work)
        self.active.changed(partner_id)
        return before

    async def _changed(self, connection: Connection, partner_id: int, id_: UUID, subject: str, action: str) -> None:
        """Have it followed, and written down who did it."""
        await store.raise_revision(connection, partner_id)
        await note(connection, self.ids.uuid7(), self.clock.now(), subject, action, partner_id, str(id_))

    async def _sms_segments(self, partner_id: int) -> int:
        async with self.engine.connect() as connection:
            choices = await get_partner(connection, partner_id)
        return choices.settings(self.defaults.partner).sms_segments


async def _found(connection: Connection, partner_id: int, id_: UUID) -> TemplateVersion:
    version = await store.get(connection, partner_id, id_)
    if version is None:
        raise not_found("template")
    return version
