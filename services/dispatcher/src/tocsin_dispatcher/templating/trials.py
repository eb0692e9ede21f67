"""A version sent to one of the bank's users, as messages are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from uuid import UUID

from tocsin_dispatcher.announcing import Announcer
from tocsin_dispatcher.changes import change_of
from tocsin_dispatcher.channels.medium import reader_of
from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.planning.expiry import expires_at
from tocsin_dispatcher.rendering.variables import Reader
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.database import Connection, Engine, in_transaction
from tocsin_dispatcher.store.deliveries import note
from tocsin_dispatcher.store.recipients import Defaults, recipients
from tocsin_dispatcher.store.trials import insert_trial, take_trial
from tocsin_dispatcher.templating.checking import Checks
from tocsin_dispatcher.templating.examples import example, of_today
from tocsin_dispatcher.templating.versions import Versions
from tocsin_dispatcher.unsubscribe import UnsubscribeLinks, kind_switch
from tocsin_dispatcher.values import Channel, Delivery, Part, Purpose, TemplateVersion, Trial, WorkClass
from tocsin_kit.clock import Clock
from tocsin_kit.ids import Ids
from tocsin_kit.loops import Bell
from tocsin_kit.rpc.errors import not_found, rate_limited, state_conflict

A_DAY = 50
"""Trials of a bank a day: its staff's, and nobody's way to send what it likes."""


@dataclass(frozen=True)
class Trials:
    """Renders a version's example now, and plans the delivery that brings it."""

    engine: Engine
    clock: Clock
    ids: Ids
    versions: Versions
    checks: Checks
    links: UnsubscribeLinks
    announcer: Announcer
    bells: Mapping[Channel, Bell]
    defaults: Defaults

    async def send(self, partner_id: int, id_: UUID, user_id: int, subject: str) -> UUID:
        """Send it; answers the delivery's id. Raises not_found, state_conflict, rate_limited, Unfit."""
        version, user = await self.versions.get(partner_id, id_), UserKey(partner_id, user_id)
        if version.slot.channel not in (Channel.EMAIL, Channel.SMS):
            raise state_conflict("only e-mail and text messages can be sent as a test: preview the others")
        now = self.clock.now()
        trial = await self._rendered(version, user, await self._reader(user, version.slot.channel, now))
        delivery = _delivery(version, user, self.ids.uuid7(), now)
        change = change_of(delivery, delivery.status, None, now)

        async def work(connection: Connection) -> None:
            if not await take_trial(connection, partner_id, now.date(), A_DAY):
                raise rate_limited(f"{A_DAY} tests were sent today", _until_tomorrow(now))
            await insert_trial(connection, delivery, version.id, trial)
            await note(connection, self.ids.uuid7(), now, subject, "test_send_template", partner_id, str(version.id))
            await self.announcer.add(connection, [change], now)

        await in_transaction(self.engine, work)
        self.announcer.wrote([change])
        self.bells[delivery.channel].set()
        return delivery.id

    async def _reader(self, user: UserKey, channel: Channel, now: datetime) -> Reader:
        """The person who gets it. Of their preferences only what a message may say counts, not when it may come."""
        async with self.engine.connect() as connection:
            known = (await recipients(connection, [user], self.defaults))[user]
        if known.contact is None:
            raise not_found("user")
        if known.contact.address(channel) is None:
            raise state_conflict("the user's profile has no such address")
        return reader_of(known.contact, now, known.preferences.hide_amounts)

    async def _rendered(self, version: TemplateVersion, user: UserKey, to: Reader) -> Trial:
        """The example as it would be told to this person now."""
        told = of_today(example(version.slot.kind), to.now.astimezone(to.zone))
        stop = self.links.url(kind_switch(user, version.slot.kind, version.slot.channel))
        parts = await self.checks.rendered(version, told, to, stop)
        return Trial(version.slot.kind, parts.get(Part.SUBJECT, ""), parts.get(Part.TEXT, ""), parts.get(Part.HTML, ""))


def _delivery(version: TemplateVersion, user: UserKey, id_: UUID, now: datetime) -> Delivery:
    return Delivery(
        id=id_,
        partner_id=user.partner_id,
        purpose=Purpose.TEST,
        notification_id=None,
        user_id=user.user_id,
        channel=version.slot.channel,
        destination_id=None,
        destination=None,
        work_class=WorkClass.USER,
        status=DeliveryState.PENDING,
        reason=None,
        due_at=now,
        attempt=0,
        failures=0,
        expires_at=expires_at(Purpose.TEST, now, None),
        fact_key=None,
        created_at=now,
        token_taken=True,
    )


def _until_tomorrow(now: datetime) -> timedelta:
    """Until the next day begins, in UTC."""
    return datetime.combine(now.date() + timedelta(days=1), time(0), now.tzinfo) - now
