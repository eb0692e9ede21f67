"""Who may call: the scopes of the token against the method's option `tocsin.options.v1.access`."""

from __future__ import annotations

from dataclasses import replace

from google.protobuf.message import Message

from tocsin_kit.rpc.caller import Caller, Scope, set_current_caller
from tocsin_kit.rpc.errors import Reason, TocsinError, invalid_field
from tocsin_kit.rpc.stages.stage import Call, Proceed
from tocsin_kit.rpc.tokens import TokenVerifier

#: Metadata by which a SERVICE token acts for one of its partner's users.
ACTING_FOR = "tocsin-user"
_INT64 = range(-(2**63), 2**63)


class Access:
    """Verifies the bearer token and enforces the method's scopes; then `current_caller()` is known."""

    def __init__(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier

    async def __call__(self, call: Call, proceed: Proceed) -> Message:
        """The answer. Raises token_invalid, token_expired or scope_missing."""
        caller = await self._verifier.verify(bearer(call.metadata.get("authorization", "")))
        set_current_caller(admitted(caller, call.method.scopes, call.metadata.get(ACTING_FOR)))
        return await proceed()


def bearer(authorization: str) -> str:
    """The token of `Bearer <token>` (RFC 6750). Raises token_invalid."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise TocsinError("a bearer token is required", Reason.TOKEN_INVALID)
    return token.strip()


def admitted(caller: Caller, scopes: frozenset[Scope], acting_for: str | None) -> Caller:
    """The caller as the method sees it: a SERVICE token with `tocsin-user` stands for that user in USER methods.

    Raises scope_missing when none of the caller's scopes may call, invalid_field when `tocsin-user` is no id.
    """
    if acting_for is not None and Scope.SERVICE not in caller.scopes:
        raise TocsinError(f"only a service token may set {ACTING_FOR}", Reason.SCOPE_MISSING)
    if acting_for is not None and Scope.USER in scopes:
        return replace(caller, user_id=_user_id(acting_for))
    if not caller.scopes & scopes:
        wanted = ", ".join(sorted(scopes))
        raise TocsinError(f"the token's scope does not allow this; it takes one of: {wanted}", Reason.SCOPE_MISSING)
    return caller


def _user_id(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20 and int(text) in _INT64):
        raise invalid_field(ACTING_FOR, "must be a user id")
    return int(text)
