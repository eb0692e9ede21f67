"""Webhook endpoints of a user or a bank: added, listed, removed, given new secrets, tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from tocsin_dispatcher.breakers import BreakerKey
from tocsin_dispatcher.channels.webhook import message_to
from tocsin_dispatcher.destinations.reading import endpoint_with
from tocsin_dispatcher.destinations.trying import PAUSE, attempt_to_try
from tocsin_dispatcher.destinations.urls import UrlRules, origin
from tocsin_dispatcher.destinations.webhook_secrets import new_secret, opened, sealed
from tocsin_dispatcher.keys import OwnerKey
from tocsin_dispatcher.providers.provider import DirectProvider
from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.store import webhook_endpoints as store
from tocsin_dispatcher.store.breaker_rows import reset_breaker
from tocsin_dispatcher.store.database import Connection, Engine, in_transaction
from tocsin_dispatcher.store.notifications import Place
from tocsin_dispatcher.store.own_addresses import AddressId, StoredEndpoint, end_addresses, endpoints
from tocsin_dispatcher.store.push_subscriptions import lock_named
from tocsin_dispatcher.store.tables import idempotency_keys
from tocsin_dispatcher.store.webhook_endpoints import OwnedEndpoint
from tocsin_dispatcher.values import AlertKind, Channel, Outcome, OutcomeKind, WebhookMessage
from tocsin_kit.clock import Clock
from tocsin_kit.ids import Ids
from tocsin_kit.postgres.idempotency import RequestKey, remember
from tocsin_kit.rpc.errors import not_found, rate_limited, state_conflict
from tocsin_kit.sealing import Seals

OLD_SECRET_SIGNS = timedelta(hours=24)
"""How long the secret before a rotation goes on to sign."""
_MOST = 20
"""Endpoints of one owner."""
_MOST_SECRETS = 3
"""That sign at once: more signatures make a header that not everybody takes."""


@dataclass(frozen=True, slots=True)
class WithSecret:
    """An endpoint and the secret that is shown of it now; None where it is shown no longer."""

    endpoint: OwnedEndpoint
    secret: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wanted:
    """An endpoint as its owner wants it."""

    url: str
    name: str
    kinds: frozenset[AlertKind]


@dataclass(frozen=True)
class Endpoints:
    """What owners do with their webhook endpoints. `random` makes secrets, so it must be a secure one; `tried_event` is
    the body of a test, made at an instant."""

    engine: Engine
    clock: Clock
    ids: Ids
    random: Random
    seals: Seals
    rules: UrlRules
    provider: DirectProvider[WebhookMessage]
    tried_event: Callable[[datetime], bytes]

    async def add(self, owner: OwnerKey, wanted: Wanted, once: RequestKey, request_hash: bytes) -> WithSecret:
        """Add one. A repeated request gets the endpoint that it added, with its first secret while that signs.

        Raises NotCallable, IdempotencyConflict, state_conflict where there are too many or there is no key for secrets.
        """
        self._require_seals()
        shown, now = origin(self.rules.checked(wanted.url)), self.clock.now()
        new = OwnedEndpoint(
            partner_id=owner.partner_id,
            id=self.ids.uuid7(),
            user_id=owner.user_id,
            url=wanted.url,
            shown=shown,
            name=wanted.name,
            kinds=wanted.kinds,
            disabled_at=None,
            created_at=now,
        )
        secret = new_secret(self.random)

        async def work(connection: Connection) -> WithSecret:
            async def make() -> bytes:
                await self._insert(connection, owner, new, secret)
                return new.id.bytes

            id_ = UUID(bytes=await remember(connection, idempotency_keys, once, request_hash, now, make))
            made = await store.get(connection, owner, id_, now) or replace(new, id=id_)
            # the first secret has its endpoint's id
            kept = await store.secret(connection, owner.partner_id, id_, id_)
            return WithSecret(made, None if kept is None else opened(kept, owner.partner_id, id_, self.seals))

        return await in_transaction(self.engine, work)

    async def _insert(self, connection: Connection, owner: OwnerKey, new: OwnedEndpoint, secret: bytes) -> None:
        await lock_named(connection, f"webhook endpoints of {owner.partner_id} {owner.user_id}")
        if await store.count(connection, owner) >= _MOST:
            raise state_conflict(f"at most {_MOST} webhook endpoints can be added: remove one first")
        await store.insert(connection, new)
        await self._add_secret(connection, new.partner_id, new.id, new.id, secret, new.created_at)

    async def _add_secret(
        self, connection: Connection, partner_id: int, endpoint_id: UUID, id_: UUID, secret: bytes, now: datetime
    ) -> None:
        kept = sealed(secret, partner_id, endpoint_id, self.seals)
        await store.add_secret(connection, partner_id, endpoint_id, id_, kept, now, OLD_SECRET_SIGNS)

    async def page(self, owner: OwnerKey, size: int, after: Place | None) -> Sequence[OwnedEndpoint]:
        """A page of the owner's, newest first."""
        async with self.engine.connect() as connection:
            return await store.page(connection, owner, self.clock.now(), size, after)

    async def remove(self, owner: OwnerKey, id_: UUID) -> None:
        """Remove one with its secrets and its breaker. Raises not_found."""
        now = self.clock.now()

        async def work(connection: Connection) -> bool:
            removed = await store.delete(connection, owner, id_)
            if removed:
                await reset_breaker(connection, BreakerKey(self.provider.name, str(id_)), now)
            return removed

        if not await in_transaction(self.engine, work):
            raise not_found("webhook endpoint")

    async def rotate(self, owner: OwnerKey, id_: UUID) -> WithSecret:
        """Give one a new secret; those before it sign too for OLD_SECRET_SIGNS from now, or as long as they did.

        Raises not_found, state_conflict where too many sign already.
        """
        self._require_seals()
        secret, now, secret_id = new_secret(self.random), self.clock.now(), self.ids.uuid7()

        async def work(connection: Connection) -> WithSecret:
            if not await store.lock(connection, owner, id_):
                raise not_found("webhook endpoint")
            if await store.signing_secrets(connection, owner.partner_id, id_, now) >= _MOST_SECRETS:
                raise state_conflict(f"{_MOST_SECRETS} secrets sign already: wait until the oldest does no longer")
            await self._add_secret(connection, owner.partner_id, id_, secret_id, secret, now)
            changed = await store.get(connection, owner, id_, now)
            if changed is None:
                raise not_found("webhook endpoint")
            return WithSecret(changed, secret)

        return await in_transaction(self.engine, work)

    async def try_out(self, owner: OwnerKey, id_: UUID) -> Outcome:
        """Send one a test event now; a success enables it again, a 410 disables it. Raises not_found, rate_limited."""
        address = AddressId(owner.partner_id, id_)
        found = await in_transaction(self.engine, lambda connection: self._begin(connection, owner, address))
        attempt = attempt_to_try(owner.partner_id, self.provider.name, str(id_), self.clock, self.ids)
        message = message_to(endpoint_with(found, self.tried_event(attempt.started_at)), self.seals)
        outcome = await self.provider.send(message, attempt)
        await in_transaction(self.engine, lambda connection: self._ended(connection, address, outcome))
        return outcome

    async def _begin(self, connection: Connection, owner: OwnerKey, address: AddressId) -> StoredEndpoint:
        now = self.clock.now()
        found = await endpoints(connection, [address], now) if await store.lock(connection, owner, address.id) else {}
        if address not in found:
            raise not_found("webhook endpoint")
        if not await store.begin_test(connection, owner, address.id, now, PAUSE):
            raise rate_limited("it was tested a moment ago", PAUSE)
        return found[address]

    async def _ended(self, connection: Connection, address: AddressId, outcome: Outcome) -> None:
        if outcome.kind is OutcomeKind.ACCEPTED:
            await store.enable(connection, *address)
        if outcome.suppress is SuppressionCause.DISABLED:
            await end_addresses(connection, Channel.WEBHOOK, [address], self.clock.now())

    def _require_seals(self) -> None:
        if not self.seals.can_seal:
            raise state_conflict("webhooks are not set up here: there is no key to keep their secrets with")
