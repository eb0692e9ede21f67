"""Secrets at rest: what lies in the database says nothing without a key from the settings.

AES-256-GCM (NIST SP 800-38D) with a nonce of 96 random bits; a name that is not stored with it binds each secret to its
row, so that none opens in another's place. The first key seals, all of them open: to change keys, put the new first.
"""

import base64
import binascii
from collections.abc import Sequence
from random import Random

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
_NONCE_BYTES = 12


def bytes_of(text: str) -> bytes:
    """The bytes of base64url, with padding or without. Raises ValueError."""
    bare = text.strip().rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("is no base64url") from None


def keys_of(setting: str) -> list[bytes]:
    """The keys in a setting: 32 bytes in base64url each, several by comma. Raises ValueError."""
    keys = [bytes_of(one) for one in setting.split(",")]
    if any(len(key) != KEY_BYTES for key in keys):
        raise ValueError("want 32 bytes in base64url each")
    return keys


class CannotOpen(ValueError):
    """No key opens it: the key that sealed it is gone, or it is another's."""


class NoKey(CannotOpen):
    """There is no key at all: nothing can be kept secret."""


class Seals:
    """Seals and opens. `random` must be a secure one where secrets have to keep."""

    def __init__(self, keys: Sequence[bytes], random: Random) -> None:
        self._ciphers = [AESGCM(key) for key in keys]
        self._random = random

    @property
    def can_seal(self) -> bool:
        """Whether there is a key."""
        return bool(self._ciphers)

    def seal(self, secret: bytes, name: str) -> bytes:
        """The secret, encrypted; opens under the same name only. Raises NoKey."""
        if not self._ciphers:
            raise NoKey("no key is set")
        nonce = self._random.randbytes(_NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, secret, name.encode())

    def open(self, sealed: bytes, name: str) -> bytes:
        """The secret. Raises CannotOpen."""
        nonce, encrypted = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(nonce, encrypted, name.encode())
            except (InvalidTag, ValueError):
                continue
        raise CannotOpen("no key opens it")
