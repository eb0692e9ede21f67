"""A batch of firings becomes notifications and planned deliveries, in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tocsin_dispatcher.announcing import Announcer, DeliveryChange, TellInbox
from tocsin_dispatcher.intake.facts import fact_of, settle_facts
from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.planning.plan import plan
from tocsin_dispatcher.states import WAITING
from tocsin_dispatcher.store.database import Connection, Engine, in_transaction
from tocsin_dispatcher.store.facts import displace, give_up_facts, lock_deliveries_telling
from tocsin_dispatcher.store.inboxes import Inbox, lock_inboxes, raise_inboxes
from tocsin_dispatcher.store.own_addresses import addresses_of
from tocsin_dispatcher.store.recipients import Defaults, KnownRecipient, recipients
from tocsin_dispatcher.store.taking_in import (
    NewDelivery,
    NewNotification,
    insert_deliveries,
    insert_notifications,
)
from tocsin_dispatcher.values import Channel, Delivery, Firing, InAppMessage, OwnAddresses
from tocsin_kit.clock import Clock
from tocsin_kit.halves import in_halves
from tocsin_kit.ids import Ids
from tocsin_kit.loops import Bell
from tocsin_kit.transient import is_data_error

#: Renders what the inbox shows of a firing taken in at an instant.
RenderInApp = Callable[[Firing, datetime], InAppMessage]
#: The same for firings taken in together, of those that are told in a bank's own words, by firing id.
WordInApp = Callable[[Sequence[Firing], datetime], Awaitable[Mapping[UUID, InAppMessage]]]


async def _no_others(_firings: Sequence[Firing], _now: datetime) -> Mapping[UUID, InAppMessage]:
    """Everything is told in the built-in words."""
    return {}


@dataclass(frozen=True)
class _TakenIn:
    """What a committed batch has to tell."""

    changes: Sequence[DeliveryChange]
    inboxes: Sequence[tuple[UserKey, int]]


@dataclass(frozen=True)
class Intake:
    """Takes batches of firings in. `bells` wakes a channel's lane."""

    engine: Engine
    announcer: Announcer
    tell_inbox: TellInbox
    bells: Mapping[Channel, Bell]
    clock: Clock
    ids: Ids
    render: RenderInApp
    defaults: Defaults
    words: WordInApp = _no_others

    async def take_in(self, firings: Sequence[Firing]) -> list[tuple[Firing, Exception]]:
        """Take all in, once each however often they come; answers those whose data cannot be taken in.

        Raises what the infrastructure raises: the batch is to come again then.
        """
        return await in_halves(list({firing.id: firing for firing in firings}.values()), self._together, is_data_error)

    async def _together(self, firings: Sequence[Firing]) -> None:
        now = self.clock.now()
        words = await self.words(firings, now)  # before the transaction: it waits for other processes
        done = await in_transaction(self.engine, lambda connection: self._write(connection, firings, words, now))
        self.announcer.wrote(done.changes)
        for channel in {change.channel for change in done.changes if change.status in WAITING}:
            if channel in self.bells:
                self.bells[channel].set()
        await self.tell_inbox(done.inboxes)

    async def _write(
        self, connection: Connection, firings: Sequence[Firing], words: Mapping[UUID, InAppMessage], now: datetime
    ) -> _TakenIn:
        users = [UserKey(firing.partner_id, firing.user_id) for firing in firings]
        inboxes = await lock_inboxes(connection, users)
        known = await recipients(connection, users, self.defaults)
        addresses = await addresses_of(connection, users)
        planned = {firing.id: self._plan(firing, known, addresses, now) for firing in firings}
        notifications = self._notifications(firings, inboxes, planned, words, now)
        written = await insert_notifications(connection, notifications, now)
        fresh = [firing for firing in firings if firing.id in written]
        deliveries = await self._deliver(connection, fresh, planned, now)
        raised = _raised(notifications, written)
        await raise_inboxes(connection, [(user, count, version) for user, (count, version) in raised.items()])
        changes = [_change(new, now) for new in deliveries]
        await self.announcer.add(connection, changes, now)
        return _TakenIn(changes, [(user, version) for user, (_, version) in raised.items()])

    def _plan(
        self,
        firing: Firing,
        known: Mapping[UserKey, KnownRecipient],
        addresses: Mapping[UserKey, OwnAddresses],
        now: datetime,
    ) -> tuple[Delivery, ...]:
        user = UserKey(firing.partner_id, firing.user_id)
        return plan(firing, known[user].contact, now, self.ids, addresses[user])

    def _notifications(
        self,
        firings: Sequence[Firing],
        inboxes: Mapping[UserKey, Inbox],
        planned: Mapping[UUID, Sequence[Delivery]],
        others: Mapping[UUID, InAppMessage],
        now: datetime,
    ) -> list[NewNotification]:
        """One per firing, each with the next version of its user's inbox."""
        versions = {user: inbox.version for user, inbox in inboxes.items()}
        notifications = []
        for firing in firings:
            user = UserKey(firing.partner_id, firing.user_id)
            versions[user] += 1
            words = others.get(firing.id) or self.render(firing, now)
            notifications.append(NewNotification(firing, words, versions[user], len(planned[firing.id])))
        return notifications

    async def _deliver(
        self,
        connection: Connection,
        fresh: Sequence[Firing],
        planned: Mapping[UUID, Sequence[Delivery]],
        now: datetime,
    ) -> list[NewDelivery]:
        pairs = [(firing, delivery) for firing in fresh for delivery in planned[firing.id]]
        facts = {fact for _, delivery in pairs if (fact := fact_of(delivery)) is not None}
        telling = await lock_deliveries_telling(connection, sorted(facts))
        settled = settle_facts(pairs, telling)
        await displace(connection, list(settled.displaced.items()), now)
        await give_up_facts(connection, settled.yielding)
        new = list(settled.new.values())
        await insert_deliveries(connection, new, now)
        return new


def _raised(notifications: Sequence[NewNotification], written: frozenset[UUID]) -> dict[UserKey, tuple[int, int]]:
    """Per user how many notifications are new, and the newest one's version."""
    raised: dict[UserKey, tuple[int, int]] = {}
    for new in notifications:
        if new.firing.id in written:
            user = UserKey(new.firing.partner_id, new.firing.user_id)
            raised[user] = (raised.get(user, (0, 0))[0] + 1, new.version)
    return raised


def _change(new: NewDelivery, now: datetime) -> DeliveryChange:
    delivery = new.delivery
    return DeliveryChange(
        partner_id=delivery.partner_id,
        delivery_id=delivery.id,
        user_id=delivery.user_id,
        notification_id=delivery.notification_id,
        channel=delivery.channel,
        work_class=delivery.work_class,
        status=delivery.status,
        reason=delivery.reason,
        attempt=0,
        at=now,
        traceparent=delivery.traceparent,
        tracestate=delivery.tracestate,
    )
