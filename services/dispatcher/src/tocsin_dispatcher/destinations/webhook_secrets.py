"""The secrets that sign webhooks, as an endpoint's rows hold them."""

from random import Random
from uuid import UUID

from tocsin_dispatcher.values import WebhookEndpoint
from tocsin_kit.sealing import Seals

_SECRET_BYTES = 32
"""From 24 to 64 are asked for (Standard Webhooks, "Signature scheme")."""


def new_secret(random: Random) -> bytes:
    """A secret by chance, which must be a secure one."""
    return random.randbytes(_SECRET_BYTES)


def sealed(secret: bytes, partner_id: int, endpoint_id: UUID, seals: Seals) -> bytes:
    """As its row holds it."""
    return seals.seal(secret, _name(partner_id, endpoint_id))


def opened(sealed_secret: bytes, partner_id: int, endpoint_id: UUID, seals: Seals) -> bytes:
    """The secret in a row. Raises CannotOpen."""
    return seals.open(sealed_secret, _name(partner_id, endpoint_id))


def secrets_of(endpoint: WebhookEndpoint, seals: Seals) -> tuple[bytes, ...]:
    """Those that sign now, the newest first. Raises CannotOpen."""
    return tuple(opened(one, endpoint.partner_id, endpoint.id, seals) for one in endpoint.sealed_secrets)


def _name(partner_id: int, endpoint_id: UUID) -> str:
    return f"webhook secret {partner_id} {endpoint_id}"
