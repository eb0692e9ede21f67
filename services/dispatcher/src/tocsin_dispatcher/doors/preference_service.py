"""PreferenceService: how a user wants to be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import time
from typing import Any

import grpc

from tocsin.notifications.v1 import preference_pb2, preference_pb2_grpc
from tocsin_dispatcher.addresses import address_hash
from tocsin_dispatcher.doors.destinations import DestinationRpcs
from tocsin_dispatcher.doors.masks import written
from tocsin_dispatcher.doors.notification_service import timestamp
from tocsin_dispatcher.doors.vocabulary import channel_of, channel_to_proto, kind_of, kind_to_proto
from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.planning.stages.rate_limits import limits
from tocsin_dispatcher.store.choices import lock_preferences, put_preferences
from tocsin_dispatcher.store.database import Connection, Engine, in_transaction
from tocsin_dispatcher.store.recipients import Defaults, KnownRecipient, recipients
from tocsin_dispatcher.store.suppressions import AddressKey, Suppressed, suppressed
from tocsin_dispatcher.values import Channel, Preferences
from tocsin_dispatcher.verifying.verifications import RESEND, Verifications
from tocsin_kit.clock import Clock
from tocsin_kit.rpc.caller import current_caller

Context = grpc.aio.ServicerContext[Any, Any]

#: What a user may write. The others come with the profile: a mask may name them, and they stay as they are.
_WRITABLE = (
    "email_enabled",
    "sms_enabled",
    "push_enabled",
    "overrides",
    "quiet_hours.enabled",
    "quiet_hours.start",
    "quiet_hours.end",
    "max_per_hour",
    "max_per_day",
    "digest_hour",
    "hide_amounts",
)
_OUTPUT_ONLY = ("email", "phone", "time_zone", "locale")


class PreferenceServicer(preference_pb2_grpc.PreferenceServiceServicer):
    """Reads and writes the caller's own. What it says of browsers and webhooks is in `destinations.py`."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        defaults: Defaults,
        address_key: bytes,
        destinations: DestinationRpcs,
        verifications: Verifications,
    ) -> None:
        self._engine, self._clock, self._defaults, self._address_key = engine, clock, defaults, address_key
        self._destinations, self._verifications = destinations, verifications

    async def GetPreferences(
        self, request: preference_pb2.GetPreferencesRequest, context: Context
    ) -> preference_pb2.GetPreferencesResponse:
        """The caller's preferences, defaults filled in."""
        async with self._engine.connect() as connection:
            shown = await self._shown(connection, _user())
        return preference_pb2.GetPreferencesResponse(preferences=shown)

    async def UpdatePreferences(
        self, request: preference_pb2.UpdatePreferencesRequest, context: Context
    ) -> preference_pb2.UpdatePreferencesResponse:
        """Replace them, or change the fields named; limits never rise above the partner's ceiling."""
        user, now = _user(), self._clock.now()
        paths = written(request.update_mask, _WRITABLE, _OUTPUT_ONLY)

        async def work(connection: Connection) -> preference_pb2.Preferences:
            await lock_preferences(connection, user, now)
            known = (await recipients(connection, [user], self._defaults))[user]
            chosen = _changed(known.preferences, request.preferences, paths, self._defaults)
            per_hour, per_day = limits(chosen, known.partner)
            chosen = replace(chosen, max_per_hour=per_hour, max_per_day=per_day)
            await put_preferences(connection, user, chosen, now)
            return await self._shown(connection, user)

        return preference_pb2.UpdatePreferencesResponse(preferences=await in_transaction(self._engine, work))

    async def StartVerification(
        self, request: preference_pb2.StartVerificationRequest, context: Context
    ) -> preference_pb2.StartVerificationResponse:
        """Send the caller a code. Raises rate_limited."""
        began = await self._verifications.start(_user(), channel_of(request.channel))
        return preference_pb2.StartVerificationResponse(
            resend_at=timestamp(began.started_at + RESEND), expires_at=timestamp(began.expires_at)
        )

    async def ConfirmVerification(
        self, request: preference_pb2.ConfirmVerificationRequest, context: Context
    ) -> preference_pb2.ConfirmVerificationResponse:
        """Whether it is the code that the caller was sent."""
        verified = await self._verifications.confirm(_user(), channel_of(request.channel), request.code)
        return preference_pb2.ConfirmVerificationResponse(verified=verified)

    async def ListPushSubscriptions(
        self, request: preference_pb2.ListPushSubscriptionsRequest, context: Context
    ) -> preference_pb2.ListPushSubscriptionsResponse:
        """The caller's browsers."""
        return await self._destinations.list_push(request)

    async def CreatePushSubscription(
        self, request: preference_pb2.CreatePushSubscriptionRequest, context: Context
    ) -> preference_pb2.CreatePushSubscriptionResponse:
        """Add a browser."""
        return await self._destinations.create_push(request)

    async def DeletePushSubscription(
        self, request: preference_pb2.DeletePushSubscriptionRequest, context: Context
    ) -> preference_pb2.DeletePushSubscriptionResponse:
        """Remove a browser."""
        return await self._destinations.delete_push(request)

    async def TestPushSubscription(
        self, request: preference_pb2.TestPushSubscriptionRequest, context: Context
    ) -> preference_pb2.TestPushSubscriptionResponse:
        """Try a browser out."""
        return await self._destinations.test_push(request)

    async def ListWebhookEndpoints(
        self, request: preference_pb2.ListWebhookEndpointsRequest, context: Context
    ) -> preference_pb2.ListWebhookEndpointsResponse:
        """The caller's webhook endpoints."""
        return await self._destinations.list_endpoints(request)

    async def CreateWebhookEndpoint(
        self, request: preference_pb2.CreateWebhookEndpointRequest, context: Context
    ) -> preference_pb2.CreateWebhookEndpointResponse:
        """Add a webhook endpoint."""
        return await self._destinations.create_endpoint(request)

    async def DeleteWebhookEndpoint(
        self, request: preference_pb2.DeleteWebhookEndpointRequest, context: Context
    ) -> preference_pb2.DeleteWebhookEndpointResponse:
        """Remove a webhook endpoint."""
        return await self._destinations.delete_endpoint(request)

    async def RotateWebhookSecret(
        self, request: preference_pb2.RotateWebhookSecretRequest, context: Context
    ) -> preference_pb2.RotateWebhookSecretResponse:
        """Give a webhook endpoint a new secret."""
        return await self._destinations.rotate_secret(request)

    async def TestWebhookEndpoint(
        self, request: preference_pb2.TestWebhookEndpointRequest, context: Context
    ) -> preference_pb2.TestWebhookEndpointResponse:
        """Try a webhook endpoint out."""
        return await self._destinations.test_endpoint(request)

    async def _shown(self, connection: Connection, user: UserKey) -> preference_pb2.Preferences:
        known = (await recipients(connection, [user], self._defaults))[user]
        keys = {
            channel: AddressKey(
                user.partner_id, channel, address_hash(self._address_key, user.partner_id, channel, address)
            )
            for channel in (Channel.EMAIL, Channel.SMS)
            if known.contact is not None and (address := known.contact.address(channel))
        }
        listed = await suppressed(connection, keys.values())
        return _to_proto(known, {channel: listed.get(key) for channel, key in keys.items()})


def _user() -> UserKey:
    return UserKey(*current_caller().require_user())


def _changed(
    before: Preferences, new: preference_pb2.Preferences, paths: frozenset[str], defaults: Defaults
) -> Preferences:
    """The preferences with the fields named taken from `new`; one that is unset there takes its default."""
    standard = Preferences(max_per_hour=defaults.per_hour, max_per_day=defaults.per_day)
    quiet, quiet_before = new.quiet_hours, before.quiet_hours
    values: dict[str, Any] = {}
    for name in ("email_enabled", "sms_enabled", "push_enabled", "max_per_hour", "max_per_day", "digest_hour"):
        if name in paths:
            values[name] = getattr(new, name) if new.HasField(name) else getattr(standard, name)
    if "hide_amounts" in paths:
        values["hide_amounts"] = new.hide_amounts
    if "overrides" in paths:
        values["overrides"] = {(kind_of(one.alert_type), channel_of(one.channel)): one.enabled for one in new.overrides}
    if "quiet_hours.enabled" in paths:
        quiet_before = replace(quiet_before, enabled=quiet.enabled)
    if "quiet_hours.start" in paths:
        begins = time.fromisoformat(quiet.start) if quiet.HasField("start") else standard.quiet_hours.start
        quiet_before = replace(quiet_before, start=begins)
    if "quiet_hours.end" in paths:
        ends = time.fromisoformat(quiet.end) if quiet.HasField("end") else standard.quiet_hours.end
        quiet_before = replace(quiet_before, end=ends)
    return replace(before, quiet_hours=quiet_before, **values)


def _to_proto(known: KnownRecipient, listed: Mapping[Channel, Suppressed | None]) -> preference_pb2.Preferences:
    chosen, contact = known.preferences, known.contact
    per_hour, per_day = limits(chosen, known.partner)
    return preference_pb2.Preferences(
        email_enabled=chosen.email_enabled,
        sms_enabled=chosen.sms_enabled,
        push_enabled=chosen.push_enabled,
        overrides=[
            preference_pb2.ChannelOverride(
                alert_type=kind_to_proto(kind), channel=channel_to_proto(channel), enabled=on
            )
            for (kind, channel), on in sorted(chosen.overrides.items())
        ],
        quiet_hours=preference_pb2.QuietHours(
            enabled=chosen.quiet_hours.enabled,
            start=f"{chosen.quiet_hours.start:%H:%M}",
            end=f"{chosen.quiet_hours.end:%H:%M}",
        ),
        max_per_hour=per_hour,
        max_per_day=per_day,
        digest_hour=chosen.digest_hour,
        hide_amounts=chosen.hide_amounts,
        email=_address(
            contact.email if contact else None, bool(contact and contact.email_verified_at), listed.get(Channel.EMAIL)
        ),
        phone=_address(
            contact.phone if contact else None, bool(contact and contact.phone_verified_at), listed.get(Channel.SMS)
        ),
        time_zone=contact.time_zone if contact else "",
        locale=contact.locale if contact else "",
    )


def _address(address: str | None, verified: bool, listed: Suppressed | None) -> preference_pb2.Address:
    return preference_pb2.Address(
        address=address or "",
        verified=verified,
        suppressed=listed is not None,
        suppressed_reason="" if listed is None else listed.cause,
        suppressed_since=None if listed is None else timestamp(listed.since),
    )
