"""Asking for a code, and typing it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from tocsin_dispatcher.addresses import address_hash
from tocsin_dispatcher.announcing import Announcer, DeliveryChange
from tocsin_dispatcher.changes import change_of
from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.planning.expiry import LIFETIMES
from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.database import Connection, Engine, in_transaction
from tocsin_dispatcher.store.recipients import Defaults, recipients
from tocsin_dispatcher.store.taking_in import NewDelivery, insert_deliveries
from tocsin_dispatcher.store.verifications import (
    Began,
    NewVerification,
    begin_verification,
    confirm,
    count_verification,
    try_code,
)
from tocsin_dispatcher.values import Channel, Delivery, Purpose, WorkClass
from tocsin_dispatcher.verifying.codes import Codes
from tocsin_dispatcher.verifying.limits import Limits, subjects, why_not
from tocsin_kit.clock import Clock
from tocsin_kit.ids import Ids
from tocsin_kit.loops import Bell
from tocsin_kit.rpc.errors import rate_limited

TRIES = 5
RESEND = timedelta(seconds=60)
VALID: timedelta = LIFETIMES[Purpose.VERIFICATION]


@dataclass(frozen=True)
class Verifications:
    """Of a person's own address, as the bank's profile has it. `address_key` keys what is kept of addresses; `bells`
    wakes a channel's lane."""

    engine: Engine
    announcer: Announcer
    bells: Mapping[Channel, Bell]
    clock: Clock
    ids: Ids
    codes: Codes
    defaults: Defaults
    address_key: bytes
    limits: Limits

    async def start(self, user: UserKey, channel: Channel) -> Began:
        """Send a code. Whether there is an address, and whether a message leaves, makes no difference to the answer,
        nor to what is done for it: each has its delivery, which is suppressed where none leaves.

        Asked again within RESEND it sends nothing and answers as before. Raises rate_limited.
        """
        done = await in_transaction(self.engine, lambda connection: self._start(connection, user, channel))
        if isinstance(done, Began):
            return done
        self.announcer.wrote(done)
        self.bells[channel].set()
        return Began(done[0].at, done[0].at + VALID)

    async def confirm(self, user: UserKey, channel: Channel, code: str) -> bool:
        """Whether the address is verified by this code. Typed again after it was right it is right still."""
        now = self.clock.now()

        async def work(connection: Connection) -> bool:
            tried = await try_code(connection, user, channel, TRIES, now)
            address = await self._address(connection, user, channel)
            if tried is None:
                return False
            fits = self.codes.fits(tried.delivery_id, code, tried.code_hash)
            is_its = hmac.compare_digest(self._hash(user, channel, address), tried.address_hash)
            return bool(address) and fits and is_its and await confirm(connection, user, channel, address, now)

        return await in_transaction(self.engine, work)

    async def _start(self, connection: Connection, user: UserKey, channel: Channel) -> Sequence[DeliveryChange] | Began:
        now = self.clock.now()
        known = (await recipients(connection, [user], self.defaults))[user]
        address = known.contact.address(channel) if known.contact else None
        new = self._new(user, channel, address or "", now)
        standing, ended = await begin_verification(connection, new, now - RESEND)
        if standing is not None:
            return standing
        named = {scope: self._named(subject) for scope, subject in subjects(user, channel, address or "").items()}
        counts = await count_verification(connection, user.partner_id, named, now.date())
        if self.limits.reached_by_user(counts):
            raise rate_limited("no more codes today", _until_tomorrow(now))
        reason = why_not(channel, address or "", known.partner, counts, self.limits)
        delivery = _delivery(new, reason)
        changes = [change_of(delivery, delivery.status, reason, now)]
        changes += [change_of(one, one.status, one.reason, now) for one in ended]
        await insert_deliveries(connection, [NewDelivery(delivery)], now)
        await self.announcer.add(connection, changes, now)
        return changes

    def _new(self, user: UserKey, channel: Channel, address: str, now: datetime) -> NewVerification:
        id_, code = self.ids.uuid7(), self.codes.new()
        return NewVerification(
            user=user,
            channel=channel,
            delivery_id=id_,
            address_hash=self._hash(user, channel, address),
            code_hash=self.codes.hashed(id_, code),
            sealed=self.codes.seal(id_, code),
            started_at=now,
            expires_at=now + VALID,
        )

    async def _address(self, connection: Connection, user: UserKey, channel: Channel) -> str:
        contact = (await recipients(connection, [user], self.defaults))[user].contact
        return (contact.address(channel) if contact else None) or ""

    def _hash(self, user: UserKey, channel: Channel, address: str) -> bytes:
        return address_hash(self.address_key, user.partner_id, channel, address)

    def _named(self, subject: str) -> bytes:
        return hmac.digest(self.address_key, subject.encode(), hashlib.sha256)


def _delivery(new: NewVerification, reason: Reason | None) -> Delivery:
    return Delivery(
        id=new.delivery_id,
        partner_id=new.user.partner_id,
        purpose=Purpose.VERIFICATION,
        notification_id=None,
        user_id=new.user.user_id,
        channel=new.channel,
        destination_id=None,
        destination=None,
        work_class=WorkClass.REALTIME,
        status=DeliveryState.PENDING if reason is None else DeliveryState.SUPPRESSED,
        reason=reason,
        due_at=new.started_at,
        attempt=0,
        failures=0,
        expires_at=new.expires_at,
        fact_key=None,
        created_at=new.started_at,
        token_taken=True,
    )


def _until_tomorrow(now: datetime) -> timedelta:
    """Until the next day begins, in UTC."""
    return datetime.combine(now.date() + timedelta(days=1), time(0), now.tzinfo) - now
