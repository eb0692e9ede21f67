"""Who we are to a push service: VAPID (RFC 8292)."""

import base64
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from random import Random

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from tocsin_dispatcher.providers.push_encryption import encoded_point

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256 (FIPS 186-4, D.1.2.3)."""
_KEY_BYTES = 32
_SPAN = timedelta(hours=6)
"""A token is made once for so long, and lives from one to two of them: at most a day is allowed (RFC 8292, 2)."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def private_key(number: bytes) -> ec.EllipticCurvePrivateKey:
    """The P-256 key that 32 bytes are. Raises ValueError where they are none."""
    if len(number) != _KEY_BYTES or not 0 < int.from_bytes(number, "big") < _ORDER:
        raise ValueError("is no private key of P-256: want 32 bytes")
    return ec.derive_private_key(int.from_bytes(number, "big"), ec.SECP256R1())


def new_key(random: Random) -> ec.EllipticCurvePrivateKey:
    """A key by chance, which must be a secure one."""
    return ec.derive_private_key(random.randrange(1, _ORDER), ec.SECP256R1())


class Vapid:
    """Signs for one key. `subject` is a mailto: or https: address where a push service finds us."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, subject: str) -> None:
        self._key, self._subject = key, subject
        self.public_key = base64.urlsafe_b64encode(encoded_point(key.public_key())).rstrip(b"=").decode()
        self._token = lru_cache(maxsize=1024)(self._signed)

    def authorization(self, origin: str, now: datetime) -> str:
        """The header for a call to a push service: `origin` is scheme, host and port of the URL called."""
        return f"vapid t={self._token(origin, (now - _EPOCH) // _SPAN)}, k={self.public_key}"

    def _signed(self, origin: str, span: int) -> str:
        expires = _EPOCH + (span + 2) * _SPAN
        claims = {"aud": origin, "exp": int(expires.timestamp()), "sub": self._subject}
        return jwt.encode(claims, self._key, algorithm="ES256")
