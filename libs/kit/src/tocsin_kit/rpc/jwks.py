"""The identity provider's public keys: a JWKS file or URL (RFC 7517), read once, again when a key is unknown."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp
import jwt
import structlog

from tocsin_kit.clock import Clock
from tocsin_kit.rpc.errors import unavailable

_ALGORITHMS = frozenset({"EdDSA", "RS256"})
_AT_MOST_EVERY = timedelta(minutes=1)
_GROWS_OLD_AFTER = timedelta(hours=1)
_FETCH_LIMIT = aiohttp.ClientTimeout(total=5)
_log = structlog.get_logger(__name__)


def _keys_of(document: object) -> dict[str, jwt.PyJWK]:
    """The signing keys of a JWKS by their ids; keys of kinds we do not accept are passed over (RFC 7517, 5).

    Raises ValueError when it is no JWKS, PyJWTError when it holds no usable key.
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("not a JWKS")
    found = jwt.PyJWKSet([entry for entry in entries if entry.get("use", "sig") == "sig"]).keys
    return {key.key_id or "": key for key in found if key.algorithm_name in _ALGORITHMS}


class KeySet:
    """Keys by their id. Rotation is seen within an hour, or at once when a token names a new key."""

    def __init__(self, source: str, clock: Clock) -> None:
        self._source, self._clock = source, clock
        self._keys: dict[str, jwt.PyJWK] | None = None
        self._looked_at: datetime | None = None
        self._looking = asyncio.Lock()

    async def key(self, key_id: str) -> jwt.PyJWK | None:
        """The key named `key_id`, None when the set has none. Raises unavailable when no set could be read yet."""
        if not self._has(key_id):
            async with self._looking:
                if not self._has(key_id) and self._may_look():
                    await self._look()
        if self._keys is None:
            raise unavailable("the token keys cannot be read")
        return self._keys.get(key_id)

    def _has(self, key_id: str) -> bool:
        return self._keys is not None and key_id in self._keys and self._age() < _GROWS_OLD_AFTER

    def _may_look(self) -> bool:
        return self._looked_at is None or self._age() >= _AT_MOST_EVERY

    def _age(self) -> timedelta:
        return timedelta.max if self._looked_at is None else self._clock.now() - self._looked_at

    async def _look(self) -> None:
        """Read the set; one that cannot be read leaves the keys as they are."""
        self._looked_at = self._clock.now()
        try:
            self._keys = _keys_of(json.loads(await self._read()))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, jwt.PyJWTError) as error:
            _log.warning("token_keys_unreadable", error=f"{type(error).__name__}: {error}")

    async def _read(self) -> str:
        if not self._source.startswith(("http://", "https://")):
            return await asyncio.to_thread(Path(self._source).read_text)
        async with (
            aiohttp.ClientSession(timeout=_FETCH_LIMIT) as session,
            session.get(self._source, raise_for_status=True) as response,
        ):
            return await response.text()
