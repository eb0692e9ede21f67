"""Bearer tokens: verifying those of users and operators, and our services' own.

Two families that cannot be confused: tokens of the identity provider (JWKS; an HS256 key in dev and test) have the
audience of the settings; tokens that our services sign have issuer and audience `tocsin-internal` and a key of their
own, and only those carry the scope `internal`. Expiry is checked with the clock that is passed in (PyJWT would read
the machine's).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import jwt
from pydantic import SecretStr

from tocsin_kit.clock import Clock
from tocsin_kit.rpc.caller import OURS, Caller, Scope
from tocsin_kit.rpc.errors import Reason, TocsinError
from tocsin_kit.rpc.jwks import KeySet

INTERNAL = "tocsin-internal"
_INTERNAL_LIFE = timedelta(minutes=5)
_RENEW_BEFORE = timedelta(minutes=1)
_CACHED = 10_000
_INT64 = range(-(2**63), 2**63)
#: Time is our own clock's business; the rest PyJWT checks.
_OPTIONS: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "require": ["exp", "sub", "aud"]}


class TokenSettings(Protocol):
    """The settings that verifying needs; `ServiceSettings` has them."""

    @property
    def env(self) -> str: ...
    @property
    def jwt_secret(self) -> SecretStr | None: ...
    @property
    def jwks(self) -> str | None: ...
    @property
    def jwt_audience(self) -> str: ...
    @property
    def internal_key(self) -> SecretStr: ...


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """Whom a token stands for and until when."""

    caller: Caller
    expires_at: datetime


def _invalid(message: str) -> TocsinError:
    return TocsinError(message, Reason.TOKEN_INVALID)


def caller_of(claims: Mapping[str, Any]) -> Caller:
    """The caller that claims describe. Raises token_invalid when they make no sense together.

    A token is a partner's (user, partner, service: needs `partner`; user: `sub` is the user's id) or ours (admin,
    internal: belongs to no partner), never both.
    """
    words = str(claims.get("scope", "")).split()
    scopes = frozenset(Scope(word) for word in words if word in set(Scope))
    if not scopes:
        raise _invalid("the token has no scope")
    subject = str(claims["sub"])
    if scopes & OURS:
        if scopes - OURS:
            raise _invalid("a token is either a partner's or an operator's")
        return Caller(subject, None, None, scopes)
    partner_id = _whole_number(claims.get("partner"), "partner")
    user_id = _whole_number(subject, "sub") if Scope.USER in scopes else None
    return Caller(subject, user_id, partner_id, scopes)


def _whole_number(value: object, claim: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise _invalid(f"the token's {claim} is not an id")
    try:
        number = int(value)
    except ValueError:
        raise _invalid(f"the token's {claim} is not an id") from None
    if number not in _INT64:
        raise _invalid(f"the token's {claim} is not an id")
    return number


def _instant(value: object) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid("the token's times are not numbers")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        raise _invalid("the token's times are out of range") from None


def check_times(claims: Mapping[str, Any], now: datetime) -> datetime:
    """The instant at which the token expires. Raises token_expired, or token_invalid before its `nbf`."""
    expires_at = _instant(claims["exp"])
    if expires_at <= now:
        raise TocsinError("the token has expired", Reason.TOKEN_EXPIRED)
    if "nbf" in claims and _instant(claims["nbf"]) > now:
        raise _invalid("the token is not valid yet")
    return expires_at


class TokenVerifier:
    """Verifies tokens; what was verified is remembered by the token's hash until it expires (RFC 7519, RFC 7517)."""

    def __init__(self, settings: TokenSettings, clock: Clock) -> None:
        if settings.jwt_secret is not None and settings.env != "dev":
            raise ValueError("TOCSIN_JWT_SECRET is for TOCSIN_ENV=dev only; configure TOCSIN_JWKS")
        self._settings, self._clock = settings, clock
        self._dev_key = settings.jwt_secret.get_secret_value() if settings.jwt_secret else None
        self._keys = KeySet(settings.jwks, clock) if settings.jwks else None
        self._known: OrderedDict[bytes, VerifiedToken] = OrderedDict()

    async def verify(self, token: str) -> Caller:
        """The caller a token stands for. Raises token_invalid or token_expired."""
        return (await self.verified(token)).caller

    async def verified(self, token: str) -> VerifiedToken:
        """As `verify`, with the instant of expiry."""
        digest = hashlib.sha256(token.encode()).digest()
        if (known := self._known.get(digest)) is not None:
            return self._still_valid(digest, known)
        claims = await self._claims(token)
        expires_at = check_times(claims, self._clock.now())
        fresh = VerifiedToken(caller_of(claims), expires_at)
        self._known[digest] = fresh
        if len(self._known) > _CACHED:
            self._known.popitem(last=False)
        return fresh

    def _still_valid(self, digest: bytes, known: VerifiedToken) -> VerifiedToken:
        if known.expires_at <= self._clock.now():
            del self._known[digest]
            raise TocsinError("the token has expired", Reason.TOKEN_EXPIRED)
        self._known.move_to_end(digest)
        return known

    async def _claims(self, token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            if header.get("typ") == INTERNAL:
                return self._internal_claims(token)
            claims = await self._users_claims(token, header)
        except jwt.PyJWTError as error:
            raise _invalid("the token is not valid") from error
        if "internal" in str(claims.get("scope", "")).split() and self._settings.env != "dev":
            raise _invalid("this key may not sign internal tokens")
        return claims

    def _internal_claims(self, token: str) -> dict[str, Any]:
        key = self._settings.internal_key.get_secret_value()
        claims: dict[str, Any] = jwt.decode(
            token, key, algorithms=["HS256"], audience=INTERNAL, issuer=INTERNAL, options=_OPTIONS
        )
        if not set(str(claims.get("scope", "")).split()) <= {scope.value for scope in OURS}:
            raise _invalid("this key signs internal and admin tokens only")
        return claims

    async def _users_claims(self, token: str, header: Mapping[str, Any]) -> dict[str, Any]:
        audience = self._settings.jwt_audience
        if header.get("alg") == "HS256" and self._dev_key is not None:
            dev: dict[str, Any] = jwt.decode(
                token, self._dev_key, algorithms=["HS256"], audience=audience, options=_OPTIONS
            )
            return dev
        if self._keys is None:
            raise _invalid("the token's algorithm is not accepted")
        key = await self._keys.key(str(header.get("kid", "")))
        if key is None:
            raise _invalid("the token's key is not known")
        claims: dict[str, Any] = jwt.decode(
            token, key, algorithms=["EdDSA", "RS256"], audience=audience, options=_OPTIONS
        )
        return claims


class InternalTokens:
    """Short-lived tokens that one of our services signs for itself; renewed before they expire."""

    def __init__(
        self, internal_key: SecretStr, clock: Clock, service_name: str, scopes: Iterable[Scope] = (Scope.INTERNAL,)
    ) -> None:
        self._key, self._clock, self._service = internal_key, clock, service_name
        self._scope = " ".join(scopes)
        self._token, self._made_at = "", datetime.fromtimestamp(0, UTC)

    def current(self) -> str:
        """A token valid for at least another minute."""
        now = self._clock.now()
        # A clock set back far (as a test's may be) would keep a token from the future for ever.
        if not timedelta(0) <= now - self._made_at < _INTERNAL_LIFE - _RENEW_BEFORE:
            claims = {"sub": self._service, "scope": self._scope, "iss": INTERNAL, "aud": INTERNAL}
            expires_at = now + _INTERNAL_LIFE
            self._token = jwt.encode(
                {**claims, "exp": int(expires_at.timestamp())},
                self._key.get_secret_value(),
                algorithm="HS256",
                headers={"typ": INTERNAL},
            )
            self._made_at = now
        return self._token


def mint_dev_token(
    secret: str,
    *,
    subject: str,
    scopes: Iterable[Scope],
    expires_at: datetime,
    partner_id: int | None = None,
    audience: str = "tocsin",
) -> str:
    """A token for dev and test, signed with the HS256 dev key."""
    claims: dict[str, Any] = {"sub": subject, "aud": audience, "scope": " ".join(scopes)}
    if partner_id is not None:
        claims["partner"] = partner_id
    return jwt.encode({**claims, "exp": int(expires_at.timestamp())}, secret, algorithm="HS256")
