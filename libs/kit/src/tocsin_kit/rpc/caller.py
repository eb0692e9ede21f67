"""Who calls: what the token proves, and the questions that servicers ask about it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum

from tocsin_kit.rpc.errors import Reason, TocsinError, invalid_field


class Scope(StrEnum):
    """What a token allows, as written in its `scope` claim."""

    USER = "user"
    PARTNER = "partner"
    SERVICE = "service"
    ADMIN = "admin"
    INTERNAL = "internal"


#: Scopes of no partner: their requests say which partner they mean.
OURS = frozenset({Scope.ADMIN, Scope.INTERNAL})


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified caller. `user_id` is the user a call is for, also where a SERVICE token acts for that user."""

    subject: str
    user_id: int | None
    partner_id: int | None
    scopes: frozenset[Scope]

    @property
    def belongs_to_no_partner(self) -> bool:
        """Whether this is an operator or one of our services."""
        return bool(self.scopes & OURS)

    def require_user(self) -> tuple[int, int]:
        """(partner_id, user_id) of the user the call is for. Raises scope_missing when it is for none."""
        if self.partner_id is None or self.user_id is None:
            raise TocsinError("the call must be made for a user", Reason.SCOPE_MISSING)
        return self.partner_id, self.user_id

    def require_partner(self) -> int:
        """The partner of the token. Raises scope_missing for tokens of no partner."""
        if self.partner_id is None:
            raise TocsinError("the call must be made for a partner", Reason.SCOPE_MISSING)
        return self.partner_id


_current: ContextVar[Caller] = ContextVar("tocsin_caller")


def current_caller() -> Caller:
    """The caller of the RPC being served. Raises LookupError outside of one."""
    return _current.get()


def set_current_caller(caller: Caller) -> None:
    """Make `caller` the current one for the rest of this task; the chassis does it once per call."""
    _current.set(caller)


def partner_of(caller: Caller, requested_partner_id: int | None, field: str = "partner_id") -> int | None:
    """The partner a request is about.

    ADMIN and INTERNAL name it in the request (None or 0: all partners); for others it is the token's, and the field
    must stay unset. Raises invalid_field naming `field`.
    """
    if caller.belongs_to_no_partner:
        return requested_partner_id or None
    if requested_partner_id:
        raise invalid_field(field, "is taken from the token and must not be set")
    return caller.require_partner()


def required_partner_of(caller: Caller, requested_partner_id: int | None, field: str = "partner_id") -> int:
    """As `partner_of`, where the request must be about one partner. Raises invalid_field naming `field`."""
    partner_id = partner_of(caller, requested_partner_id, field)
    if partner_id is None:
        raise invalid_field(field, "is required")
    return partner_id
