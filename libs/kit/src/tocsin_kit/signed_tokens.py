"""Short tokens for links: claims in the open, signed for one purpose, without an expiry.

`base64url(signature ‖ key id ":" claims)`, the signature the first 16 bytes of HMAC-SHA256 (RFC 2104) over the purpose
and what follows it: nobody can make one, and one made for another purpose is none.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

_SIGNATURE_BYTES = 16
_SHORTEST_KEY = 16


def signing_keys(setting: str) -> dict[str, bytes]:
    """The keys in a setting, at least 16 characters each, several by comma, by ids that are their own.

    Raises ValueError.
    To change the key put the new one first, and leave the old one for as long as its tokens shall work.
    """
    keys = [key.strip().encode() for key in setting.split(",")]
    if any(len(key) < _SHORTEST_KEY for key in keys):
        raise ValueError(f"want at least {_SHORTEST_KEY} characters in each key")
    return {hashlib.sha256(key).hexdigest()[:4]: key for key in keys}


class SignedTokens:
    """Makes and reads the tokens of one purpose. The first key signs, all of them verify: so keys can be changed."""

    def __init__(self, keys: Mapping[str, bytes], purpose: str) -> None:
        self._keys, self._purpose = keys, purpose.encode() + b"\0"

    def made(self, claims: str) -> str:
        """The token of these claims, URL-safe."""
        key_id = next(iter(self._keys))
        signed = f"{key_id}:{claims}".encode()
        return _encoded(self._signature(key_id, signed) + signed)

    def read(self, token: str) -> str | None:
        """A token's claims; None when it is not one of ours, or is spelt otherwise than we do."""
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            signature, signed = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
            key_id, _, claims = signed.decode().partition(":")
        except (binascii.Error, ValueError):
            return None
        if key_id not in self._keys or _encoded(raw) != token:
            return None
        return claims if hmac.compare_digest(signature, self._signature(key_id, signed)) else None

    def _signature(self, key_id: str, signed: bytes) -> bytes:
        return hmac.digest(self._keys[key_id], self._purpose + signed, hashlib.sha256)[:_SIGNATURE_BYTES]


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
