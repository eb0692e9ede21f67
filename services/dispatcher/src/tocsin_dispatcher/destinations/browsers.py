"""A user's browsers: added, listed, removed, tried."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from tocsin_dispatcher.channels.push import message_to, worded
from tocsin_dispatcher.destinations.push_keys import PushKeys, hashed, opened, sealed
from tocsin_dispatcher.destinations.trying import PAUSE, attempt_to_try
from tocsin_dispatcher.destinations.urls import UrlRules, service_of
from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.providers.provider import DirectProvider
from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.rendering.renderer import PushTexts
from tocsin_dispatcher.store import push_subscriptions as store
from tocsin_dispatcher.store.database import Connection, Engine, in_transaction
from tocsin_dispatcher.store.notifications import Place
from tocsin_dispatcher.store.own_addresses import AddressId, end_addresses
from tocsin_dispatcher.store.push_subscriptions import StoredSubscription
from tocsin_dispatcher.store.tables import idempotency_keys
from tocsin_dispatcher.values import Channel, Outcome, PushMessage, PushSubscription
from tocsin_kit.clock import Clock
from tocsin_kit.ids import Ids
from tocsin_kit.postgres.idempotency import RequestKey, remember
from tocsin_kit.rpc.errors import not_found, rate_limited, state_conflict
from tocsin_kit.sealing import CannotOpen, Seals

_MOST = 20
"""Browsers of one user."""


@dataclass(frozen=True, slots=True)
class Browser:
    """A browser as its user sees it."""

    id: UUID
    name: str
    service: str
    url: str = field(repr=False)
    created_at: datetime


@dataclass(frozen=True)
class Browsers:
    """What users do with their browsers. `provider` is None where push is not set up; `test_texts` words a test."""

    engine: Engine
    clock: Clock
    ids: Ids
    seals: Seals
    rules: UrlRules
    hash_key: bytes
    provider: DirectProvider[PushMessage] | None
    test_texts: Callable[[UserKey], Awaitable[PushTexts]]

    async def add(self, user: UserKey, keys: PushKeys, name: str, once: RequestKey, request_hash: bytes) -> Browser:
        """Add a browser, or renew one. A repeated request gets the browser that it added.

        Raises NotCallable, IdempotencyConflict, state_conflict where there are too many or push is not set up.
        """
        self._require_provider()
        service, now = service_of(self.rules.checked_push(keys.url)), self.clock.now()
        new = StoredSubscription(user.partner_id, self.ids.uuid7(), user.user_id, name, service, b"", now)

        async def work(connection: Connection) -> Browser:
            async def make() -> bytes:
                return (await self._put(connection, new, keys)).bytes

            id_ = UUID(bytes=await remember(connection, idempotency_keys, once, request_hash, now, make))
            made = await store.get(connection, user, id_) or replace(new, id=id_)
            return Browser(id_, made.name, made.service, keys.url, made.created_at)

        return await in_transaction(self.engine, work)

    async def _put(self, connection: Connection, new: StoredSubscription, keys: PushKeys) -> UUID:
        """Store it; the id that it has had as this user's, or the new one. Another user of the browser loses it, with
        what still waits for them there: what is told in a browser is for who is signed in."""
        user, hash_ = UserKey(new.partner_id, new.user_id), hashed(keys.url, self.hash_key)
        await store.lock_named(connection, f"browsers of {user.partner_id} {user.user_id}")
        await store.lock_named(connection, f"browser {hash_.hex()} of {user.partner_id}")
        known = await store.find(connection, user.partner_id, hash_)
        if known is not None and known.user_id != user.user_id:
            await store.delete(connection, UserKey(known.partner_id, known.user_id), known.id)
            known = None
        if known is None and await store.count(connection, user) >= _MOST:
            raise state_conflict(f"at most {_MOST} browsers can be added: remove one first")
        id_ = new.id if known is None else known.id
        kept = replace(new, id=id_, sealed=sealed(keys, user.partner_id, id_, self.seals))
        await store.put(connection, kept, hash_)
        return id_

    async def page(self, user: UserKey, size: int, after: Place | None) -> Sequence[Browser]:
        """A page of the user's, newest first."""
        async with self.engine.connect() as connection:
            found = await store.page(connection, user, size, after)
        return [Browser(one.id, one.name, one.service, self._url(one), one.created_at) for one in found]

    def _url(self, one: StoredSubscription) -> str:
        """Its URL; where no key opens it any more, what is left of it."""
        try:
            return opened(_destination(one), self.seals).url
        except CannotOpen:
            return f"https://{one.service}"

    async def remove(self, user: UserKey, id_: UUID) -> None:
        """Remove one. Raises not_found."""
        if not await in_transaction(self.engine, lambda connection: store.delete(connection, user, id_)):
            raise not_found("push subscription")

    async def try_out(self, user: UserKey, id_: UUID) -> Outcome:
        """Send one a message now. Raises not_found, rate_limited, state_conflict where push is not set up."""
        provider = self._require_provider()
        found = await in_transaction(
            self.engine, lambda connection: self._begin(connection, user, id_, self.clock.now())
        )
        browser, texts = _destination(found), await self.test_texts(user)
        attempt = attempt_to_try(user.partner_id, provider.name, browser.breaker, self.clock, self.ids)
        message = message_to(browser, self.seals, worded(attempt.delivery_id, texts), urgent=False)
        outcome = await provider.send(message, attempt)
        if outcome.suppress is SuppressionCause.DISABLED:
            gone, now = [AddressId(browser.partner_id, browser.id)], self.clock.now()
            await in_transaction(self.engine, lambda connection: end_addresses(connection, Channel.PUSH, gone, now))
        return outcome

    async def _begin(self, connection: Connection, user: UserKey, id_: UUID, now: datetime) -> StoredSubscription:
        found = await store.get(connection, user, id_)
        if found is None:
            raise not_found("push subscription")
        if not await store.begin_test(connection, user, id_, now, PAUSE):
            raise rate_limited("it was tested a moment ago", PAUSE)
        return found

    def _require_provider(self) -> DirectProvider[PushMessage]:
        if self.provider is None or not self.seals.can_seal:
            raise state_conflict("push messages are not set up here")
        return self.provider


def _destination(one: StoredSubscription) -> PushSubscription:
    return PushSubscription(one.partner_id, one.id, one.service, one.sealed)
