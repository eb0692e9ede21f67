"""The part of PreferenceService about browsers and webhook endpoints."""

from __future__ import annotations

import hashlib
from uuid import UUID

from google.protobuf.message import Message

from tocsin.notifications.v1 import delivery_pb2, preference_pb2
from tocsin_dispatcher.destinations.browsers import Browser, Browsers
from tocsin_dispatcher.destinations.endpoints import Endpoints, Wanted, WithSecret
from tocsin_dispatcher.destinations.push_keys import PushKeys, decoded
from tocsin_dispatcher.destinations.urls import NotCallable
from tocsin_dispatcher.doors.notification_service import timestamp
from tocsin_dispatcher.doors.paging import place_of, size_of, token_of
from tocsin_dispatcher.doors.vocabulary import kind_of, kind_to_proto
from tocsin_dispatcher.keys import OwnerKey, UserKey
from tocsin_dispatcher.providers.push_encryption import is_browsers_key
from tocsin_dispatcher.providers.webhook import written
from tocsin_dispatcher.store.webhook_endpoints import OwnedEndpoint
from tocsin_dispatcher.values import Outcome
from tocsin_kit.ids import Ids
from tocsin_kit.postgres.idempotency import IdempotencyConflict, RequestKey
from tocsin_kit.rpc.caller import current_caller
from tocsin_kit.rpc.errors import Reason, TocsinError, invalid_field


class DestinationRpcs:
    """Every one reaches the caller's own: a user's, or with a partner's token the bank's."""

    def __init__(self, browsers: Browsers, endpoints: Endpoints, public_key: str, ids: Ids) -> None:
        self._browsers, self._endpoints, self._public_key, self._ids = browsers, endpoints, public_key, ids

    async def list_push(
        self, request: preference_pb2.ListPushSubscriptionsRequest
    ) -> preference_pb2.ListPushSubscriptionsResponse:
        """A page, newest first, and the key to subscribe with."""
        size = size_of(request.page_size)
        found = await self._browsers.page(_user(), size + 1, place_of(request.page_token))
        return preference_pb2.ListPushSubscriptionsResponse(
            push_subscriptions=[_subscription(one) for one in found[:size]],
            next_page_token=token_of(found[size - 1].created_at, found[size - 1].id) if len(found) > size else "",
            application_server_key=self._public_key,
        )

    async def create_push(
        self, request: preference_pb2.CreatePushSubscriptionRequest
    ) -> preference_pb2.CreatePushSubscriptionResponse:
        """Add one. Raises invalid_field, state_conflict, idempotency_conflict."""
        given = request.push_subscription
        if not given.HasField("keys"):
            raise invalid_field("push_subscription.keys", "is required")
        if not is_browsers_key(decoded(given.keys.p256dh)):
            raise invalid_field("push_subscription.keys.p256dh", "is no point of P-256")
        keys = PushKeys(given.endpoint, decoded(given.keys.p256dh), decoded(given.keys.auth))
        once = self._once("CreatePushSubscription", request.request_id)
        try:
            added = await self._browsers.add(_user(), keys, given.name, once, _hash(request))
        except NotCallable as refusal:
            raise invalid_field("push_subscription.endpoint", str(refusal)) from refusal
        except IdempotencyConflict as conflict:
            raise TocsinError(str(conflict), Reason.IDEMPOTENCY_CONFLICT) from conflict
        return preference_pb2.CreatePushSubscriptionResponse(push_subscription=_subscription(added))

    async def delete_push(
        self, request: preference_pb2.DeletePushSubscriptionRequest
    ) -> preference_pb2.DeletePushSubscriptionResponse:
        """Remove one. Raises not_found."""
        await self._browsers.remove(_user(), UUID(request.push_subscription_id))
        return preference_pb2.DeletePushSubscriptionResponse()

    async def test_push(
        self, request: preference_pb2.TestPushSubscriptionRequest
    ) -> preference_pb2.TestPushSubscriptionResponse:
        """Try one out. Raises not_found, rate_limited, state_conflict."""
        outcome = await self._browsers.try_out(_user(), UUID(request.push_subscription_id))
        return preference_pb2.TestPushSubscriptionResponse(result=_result(outcome))

    async def list_endpoints(
        self, request: preference_pb2.ListWebhookEndpointsRequest
    ) -> preference_pb2.ListWebhookEndpointsResponse:
        """A page, newest first."""
        size = size_of(request.page_size)
        found = await self._endpoints.page(_owner(), size + 1, place_of(request.page_token))
        return preference_pb2.ListWebhookEndpointsResponse(
            webhook_endpoints=[_endpoint(one) for one in found[:size]],
            next_page_token=token_of(found[size - 1].created_at, found[size - 1].id) if len(found) > size else "",
        )

    async def create_endpoint(
        self, request: preference_pb2.CreateWebhookEndpointRequest
    ) -> preference_pb2.CreateWebhookEndpointResponse:
        """Add one. Raises invalid_field, state_conflict, idempotency_conflict."""
        given = request.webhook_endpoint
        wanted = Wanted(given.url, given.name, frozenset(kind_of(kind) for kind in given.alert_types))
        once = self._once("CreateWebhookEndpoint", request.request_id)
        try:
            added = await self._endpoints.add(_owner(), wanted, once, _hash(request))
        except NotCallable as refusal:
            raise invalid_field("webhook_endpoint.url", str(refusal)) from refusal
        except IdempotencyConflict as conflict:
            raise TocsinError(str(conflict), Reason.IDEMPOTENCY_CONFLICT) from conflict
        return preference_pb2.CreateWebhookEndpointResponse(webhook_endpoint=_with_secret(added))

    async def delete_endpoint(
        self, request: preference_pb2.DeleteWebhookEndpointRequest
    ) -> preference_pb2.DeleteWebhookEndpointResponse:
        """Remove one. Raises not_found."""
        await self._endpoints.remove(_owner(), UUID(request.webhook_endpoint_id))
        return preference_pb2.DeleteWebhookEndpointResponse()

    async def rotate_secret(
        self, request: preference_pb2.RotateWebhookSecretRequest
    ) -> preference_pb2.RotateWebhookSecretResponse:
        """Give one a new secret. Raises not_found, state_conflict."""
        changed = await self._endpoints.rotate(_owner(), UUID(request.webhook_endpoint_id))
        return preference_pb2.RotateWebhookSecretResponse(webhook_endpoint=_with_secret(changed))

    async def test_endpoint(
        self, request: preference_pb2.TestWebhookEndpointRequest
    ) -> preference_pb2.TestWebhookEndpointResponse:
        """Try one out. Raises not_found, rate_limited."""
        outcome = await self._endpoints.try_out(_owner(), UUID(request.webhook_endpoint_id))
        return preference_pb2.TestWebhookEndpointResponse(result=_result(outcome))

    def _once(self, method: str, request_id: str) -> RequestKey:
        """How to recognise the request when it comes again; under an id of ours where the caller gave none."""
        owner, caller = _owner(), current_caller()
        named = f"{caller.subject}/{owner.user_id or ''}"
        return RequestKey(owner.partner_id, named, method, request_id or str(self._ids.uuid7()))


def _user() -> UserKey:
    return UserKey(*current_caller().require_user())


def _owner() -> OwnerKey:
    caller = current_caller()
    return OwnerKey(caller.require_partner(), caller.user_id)


def _hash(request: Message) -> bytes:
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()


def _subscription(one: Browser) -> preference_pb2.PushSubscription:
    return preference_pb2.PushSubscription(
        id=str(one.id), endpoint=one.url, name=one.name, service=one.service, created_at=timestamp(one.created_at)
    )


def _endpoint(one: OwnedEndpoint) -> preference_pb2.WebhookEndpoint:
    return preference_pb2.WebhookEndpoint(
        id=str(one.id),
        url=one.url,
        name=one.name,
        alert_types=[kind_to_proto(kind) for kind in sorted(one.kinds)],
        disabled=one.disabled_at is not None,
        disabled_since=timestamp(one.disabled_at),
        old_secret_valid_until=timestamp(one.old_secret_valid_until),
        created_at=timestamp(one.created_at),
    )


def _with_secret(made: WithSecret) -> preference_pb2.WebhookEndpoint:
    shown = _endpoint(made.endpoint)
    shown.secret = "" if made.secret is None else written(made.secret)
    return shown


def _result(outcome: Outcome) -> preference_pb2.TestResult:
    return preference_pb2.TestResult(
        outcome=delivery_pb2.AttemptOutcome.Value(f"ATTEMPT_OUTCOME_{outcome.kind.upper()}"),
        status_code="" if outcome.status is None else str(outcome.status),
        answer=outcome.answer,
    )
