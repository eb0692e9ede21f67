"""Who calls: the bearer token, verified here once and again by the service it travels to."""

from dataclasses import dataclass

from starlette.requests import Request

from tocsin_gateway.entrance.buckets import TokenBuckets
from tocsin_kit.rpc.caller import Caller, Scope
from tocsin_kit.rpc.errors import Reason, TocsinError
from tocsin_kit.rpc.tokens import TokenVerifier


@dataclass(frozen=True)
class Admitted:
    """A caller who may go on, and the token that says so."""

    caller: Caller
    token: str


class Door:
    """Admits callers with a valid token who do not call too often."""

    def __init__(self, verifier: TokenVerifier, buckets: TokenBuckets) -> None:
        self._verifier, self._buckets = verifier, buckets

    async def admit(self, request: Request) -> Admitted:
        """The caller. Raises token_invalid, token_expired or rate_limited.

        Refused tokens count against the address they come from: guessing is not free.
        """
        try:
            token = _bearer(request)
            caller = await self._verifier.verify(token)
        except TocsinError:
            self._buckets.take(f"address {request.client.host if request.client else ''}")
            raise
        self._buckets.take(f"{caller.partner_id} {caller.subject}")
        return Admitted(caller, token)

    async def admit_operator(self, request: Request) -> Admitted:
        """The same for operators. Raises scope_missing for everybody else."""
        admitted = await self.admit(request)
        if Scope.ADMIN not in admitted.caller.scopes:
            raise TocsinError("only operators may see this", Reason.SCOPE_MISSING)
        return admitted


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise TocsinError("a bearer token is needed", Reason.TOKEN_INVALID)
    return token.strip()
