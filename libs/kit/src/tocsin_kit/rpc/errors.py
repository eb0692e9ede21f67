"""Errors of our own: a reason from a closed list, told alike in gRPC, REST, logs and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

DOMAIN = "tocsin"
#: Where gRPC carries a google.rpc.Status (grpc/grpc, src/proto/grpc/status).
DETAILS_KEY = "grpc-status-details-bin"


class Reason(StrEnum):
    """Why a call was refused or failed. The list is part of the contract: it is closed."""

    INVALID_FIELD = "invalid_field"
    NOT_FOUND = "not_found"
    SCOPE_MISSING = "scope_missing"
    TOKEN_INVALID = "token_invalid"  # noqa: S105 - a reason, not a secret
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - a reason, not a secret
    ID_BELONGS_TO_ANOTHER = "id_belongs_to_another"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    KIND_IS_FIXED = "kind_is_fixed"
    STATE_CONFLICT = "state_conflict"
    RATE_LIMITED = "rate_limited"
    TOO_LARGE = "too_large"
    UNAVAILABLE = "unavailable"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    INTERNAL = "internal"


STATUS_OF_REASON = {
    Reason.INVALID_FIELD: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.SCOPE_MISSING: grpc.StatusCode.PERMISSION_DENIED,
    Reason.TOKEN_INVALID: grpc.StatusCode.UNAUTHENTICATED,
    Reason.TOKEN_EXPIRED: grpc.StatusCode.UNAUTHENTICATED,
    Reason.ID_BELONGS_TO_ANOTHER: grpc.StatusCode.ALREADY_EXISTS,
    Reason.IDEMPOTENCY_CONFLICT: grpc.StatusCode.ALREADY_EXISTS,
    Reason.KIND_IS_FIXED: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.STATE_CONFLICT: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.TOO_LARGE: grpc.StatusCode.OUT_OF_RANGE,
    Reason.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Reason.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
    Reason.INTERNAL: grpc.StatusCode.INTERNAL,
}

#: What a status means that came without our details: from gRPC itself or from a proxy.
_REASON_OF_BARE_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: Reason.INVALID_FIELD,
    grpc.StatusCode.NOT_FOUND: Reason.NOT_FOUND,
    grpc.StatusCode.PERMISSION_DENIED: Reason.SCOPE_MISSING,
    grpc.StatusCode.UNAUTHENTICATED: Reason.TOKEN_INVALID,
    grpc.StatusCode.FAILED_PRECONDITION: Reason.STATE_CONFLICT,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Reason.TOO_LARGE,
    grpc.StatusCode.UNAVAILABLE: Reason.UNAVAILABLE,
    grpc.StatusCode.CANCELLED: Reason.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: Reason.DEADLINE_EXCEEDED,
}

_RETRYING_HELPS = frozenset({Reason.RATE_LIMITED, Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED})


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """What is wrong with one field; `field` is its path in proto names: `transactions[3].amount`."""

    field: str
    description: str


class TocsinError(Exception):
    """A call was refused or failed for a reason of the closed list.

    `message` is for people and may be shown to the caller: it holds no address, amount or token.
    """

    def __init__(
        self,
        message: str,
        reason: Reason,
        violations: Sequence[FieldViolation] = (),
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.violations = tuple(violations)
        self.retry_after = retry_after

    @property
    def retrying_can_help(self) -> bool:
        """Whether the same call may succeed later."""
        return self.reason in _RETRYING_HELPS

    @property
    def code(self) -> grpc.StatusCode:
        """The gRPC status of the reason."""
        return STATUS_OF_REASON[self.reason]


def not_found(what: str) -> TocsinError:
    """`what` does not exist, or belongs to somebody else (which the caller may not learn)."""
    return TocsinError(f"{what} not found", Reason.NOT_FOUND)


def invalid_field(field: str, description: str) -> TocsinError:
    """One field is wrong; `field` is its path in proto names."""
    return invalid_fields([FieldViolation(field, description)])


def invalid_fields(violations: Sequence[FieldViolation]) -> TocsinError:
    """Several fields are wrong; the message repeats the first three."""
    shown = "; ".join(f"{violation.field}: {violation.description}" for violation in violations[:3])
    more = f" (and {len(violations) - 3} more)" if len(violations) > 3 else ""
    return TocsinError(shown + more, Reason.INVALID_FIELD, violations)


def state_conflict(message: str) -> TocsinError:
    """The thing's state does not allow it."""
    return TocsinError(message, Reason.STATE_CONFLICT)


def unavailable(message: str, retry_after: timedelta | None = None) -> TocsinError:
    """Something this needs is away; later may work."""
    return TocsinError(message, Reason.UNAVAILABLE, retry_after=retry_after)


def rate_limited(message: str, retry_after: timedelta) -> TocsinError:
    """Too many calls; `retry_after` from now there is room."""
    return TocsinError(message, Reason.RATE_LIMITED, retry_after=retry_after)


def to_status(error: TocsinError) -> Status:
    """The error as google.rpc.Status: ErrorInfo always, BadRequest and RetryInfo where there is something to say."""
    details: list[Message] = [ErrorInfo(reason=error.reason.value, domain=DOMAIN)]
    if error.violations:
        fields = [
            BadRequest.FieldViolation(field=violation.field, description=violation.description)
            for violation in error.violations
        ]
        details.append(BadRequest(field_violations=fields))
    if error.retry_after is not None:
        retry = RetryInfo()
        retry.retry_delay.FromTimedelta(error.retry_after)
        details.append(retry)
    status = Status(code=error.code.value[0], message=error.message)
    for detail in details:
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def from_status(status: Status) -> TocsinError | None:
    """The error that `to_status` packed; None when the status is not one of ours."""
    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    found = {type(into) for detail in status.details for into in (info, bad, retry) if detail.Unpack(into)}
    if info.domain != DOMAIN or info.reason not in set(Reason):
        return None
    violations = [FieldViolation(violation.field, violation.description) for violation in bad.field_violations]
    retry_after = retry.retry_delay.ToTimedelta() if RetryInfo in found else None
    return TocsinError(status.message, Reason(info.reason), violations, retry_after)


def from_rpc_error(error: grpc.aio.AioRpcError) -> TocsinError:
    """The error that the server raised, or the reason closest to a status that came without our details."""
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes) and (ours := _unpacked(value)) is not None:
            return ours
    reason = _REASON_OF_BARE_STATUS.get(error.code(), Reason.INTERNAL)
    return TocsinError(error.details() or error.code().name, reason)


def _unpacked(value: bytes) -> TocsinError | None:
    try:
        return from_status(Status.FromString(value))
    except DecodeError:
        return None
