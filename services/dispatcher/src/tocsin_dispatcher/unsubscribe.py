"""The link that switches one kind of message off (RFC 8058): signed, single-purpose, and without an address."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from tocsin_dispatcher.values import AlertKind, Channel, KindSwitch

_PURPOSE = b"tocsin unsubscribe"
_SIGNATURE_BYTES = 16
_ALL_KINDS = "all"


@dataclass(frozen=True)
class UnsubscribeLinks:
    """Makes and reads the links; the last key signs, all of them verify, so that keys can be changed."""

    keys: Mapping[str, bytes]
    public_url: str
    """https address of the gateway."""

    def url(self, switch: KindSwitch) -> str:
        """The link that switches it off."""
        return f"{self.public_url.rstrip('/')}/u/{self.token(switch)}"

    def token(self, switch: KindSwitch) -> str:
        """The signed token, URL-safe."""
        key_id = list(self.keys)[-1]
        kind = switch.kind or _ALL_KINDS
        claims = f"{key_id}:{switch.partner_id}:{switch.user_id}:{kind}:{switch.channel}".encode()
        return base64.urlsafe_b64encode(self._signature(key_id, claims) + claims).rstrip(b"=").decode()

    def read(self, token: str) -> KindSwitch | None:
        """What the token switches off; None when it is not one of ours."""
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        signature, claims = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        key_id = claims.partition(b":")[0].decode("ascii", "replace")
        if key_id not in self.keys or not hmac.compare_digest(signature, self._signature(key_id, claims)):
            return None
        _, partner_id, user_id, kind, channel = claims.decode().split(":")
        named = None if kind == _ALL_KINDS else AlertKind(kind)
        return KindSwitch(int(partner_id), int(user_id), named, Channel(channel))

    def _signature(self, key_id: str, claims: bytes) -> bytes:
        return hmac.digest(self.keys[key_id], _PURPOSE + b"\0" + claims, hashlib.sha256)[:_SIGNATURE_BYTES]
