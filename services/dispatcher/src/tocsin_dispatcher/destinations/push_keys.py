"""A browser's URL and keys: who knows them can write to the browser, so they lie in the database sealed."""

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from uuid import UUID

from tocsin_dispatcher.values import PushSubscription
from tocsin_kit.sealing import Seals


@dataclass(frozen=True, slots=True)
class PushKeys:
    """What a message to a browser needs."""

    url: str = field(repr=False)
    public_key: bytes = field(repr=False)
    """An uncompressed point of P-256."""
    auth: bytes = field(repr=False)


def sealed(keys: PushKeys, partner_id: int, id_: UUID, seals: Seals) -> bytes:
    """As the subscription's row holds them."""
    told = json.dumps([keys.url, _text(keys.public_key), _text(keys.auth)])
    return seals.seal(told.encode(), _name(partner_id, id_))


def opened(browser: PushSubscription, seals: Seals) -> PushKeys:
    """The keys of a subscription. Raises CannotOpen."""
    url, public_key, auth = json.loads(seals.open(browser.sealed, _name(browser.partner_id, browser.id)))
    return PushKeys(url, decoded(public_key), decoded(auth))


def hashed(url: str, key: bytes) -> bytes:
    """Names a browser without telling its URL (HMAC-SHA256)."""
    return hmac.digest(key, b"push endpoint\0" + url.encode(), hashlib.sha256)


def decoded(text: str) -> bytes:
    """The bytes of base64url without padding. Raises ValueError."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("is no base64url") from error


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _name(partner_id: int, id_: UUID) -> str:
    return f"push subscription {partner_id} {id_}"
