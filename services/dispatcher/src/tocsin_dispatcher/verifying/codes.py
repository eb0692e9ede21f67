"""Codes of six digits: only a keyed hash of one is stored, and, until it is used, the code sealed for who sends it."""

import hashlib
import hmac
from random import Random
from uuid import UUID

from tocsin_kit.sealing import Seals

_DIGITS = 6
_SEALING, _HASHING = b"tocsin verification codes, sealed", b"tocsin verification codes, hashed"


class Codes:
    """Makes and compares them. `key` is a secret of ours; `random` must be a secure one."""

    def __init__(self, key: bytes, random: Random) -> None:
        self._random = random
        self._hashing = hmac.digest(key, _HASHING, hashlib.sha256)
        self._seals = Seals([hmac.digest(key, _SEALING, hashlib.sha256)], random)

    def new(self) -> str:
        """A code that nobody can guess."""
        return f"{self._random.randrange(10**_DIGITS):0{_DIGITS}d}"

    def hashed(self, delivery_id: UUID, code: str) -> bytes:
        """What is stored of it. A code has a million values: without the key every one of them could be tried."""
        return hmac.digest(self._hashing, delivery_id.bytes + code.encode(), hashlib.sha256)

    def fits(self, delivery_id: UUID, code: str, hashed: bytes) -> bool:
        """Whether it is the one that was sent, in a time that tells nothing of how nearly."""
        return hmac.compare_digest(self.hashed(delivery_id, code), hashed)

    def seal(self, delivery_id: UUID, code: str) -> bytes:
        """The code for its delivery alone."""
        return self._seals.seal(code.encode(), str(delivery_id))

    def open(self, delivery_id: UUID, sealed: bytes) -> str:
        """The code. Raises CannotOpen."""
        return self._seals.open(sealed, str(delivery_id)).decode()
