"""Refusals as RFC 9457 problem details, with the closed list's reason and the fields at fault."""

import math
from datetime import timedelta

from starlette.responses import Response

from tocsin_gateway.transcoding.codec import text
from tocsin_gateway.transcoding.values import InvalidValue, Json
from tocsin_kit.rpc.errors import Reason, TocsinError, invalid_field

MEDIA_TYPE = "application/problem+json"

#: The reasons' HTTP status and what they say in a few words.
PROBLEMS: dict[Reason, tuple[int, str]] = {
    Reason.INVALID_FIELD: (400, "A field is invalid"),
    Reason.NOT_FOUND: (404, "Not found"),
    Reason.SCOPE_MISSING: (403, "The token does not allow this"),
    Reason.TOKEN_INVALID: (401, "The token is missing or invalid"),
    Reason.TOKEN_EXPIRED: (401, "The token has expired"),
    Reason.ID_BELONGS_TO_ANOTHER: (409, "The id belongs to somebody else"),
    Reason.IDEMPOTENCY_CONFLICT: (409, "The idempotency key was used for another request"),
    Reason.KIND_IS_FIXED: (400, "An alert's kind cannot change"),
    Reason.STATE_CONFLICT: (409, "The state does not allow this"),
    Reason.RATE_LIMITED: (429, "Too many requests"),
    Reason.TOO_LARGE: (413, "The request is too large"),
    Reason.UNAVAILABLE: (503, "A part of the service is away"),
    Reason.DEADLINE_EXCEEDED: (504, "It took too long"),
    Reason.INTERNAL: (500, "Something went wrong on our side"),
}

#: What each status may mean, as the OpenAPI document says it.
MEANINGS: dict[int, str] = {
    status: "; ".join(title for other, title in PROBLEMS.values() if other == status)
    for status in sorted({status for status, _ in PROBLEMS.values()})
}

#: RESOURCE_EXHAUSTED and UNAVAILABLE always say when to come back.
_COME_BACK = {Reason.RATE_LIMITED: timedelta(seconds=1), Reason.UNAVAILABLE: timedelta(seconds=2)}


def problem(error: TocsinError, status: int | None = None, headers: dict[str, str] | None = None) -> Response:
    """The answer for an error; `status` where the reason's own does not fit (405; of callbacks 403 and 408)."""
    usual, title = PROBLEMS[error.reason]
    status = status or usual
    body: dict[str, Json] = {
        "type": f"urn:tocsin:problem:{error.reason.value}",
        "title": title,
        "status": status,
        "detail": error.message,
        "reason": error.reason.value,
        "errors": [{"field": violation.field, "description": violation.description} for violation in error.violations],
    }
    headers = dict(headers or {})
    retry_after = error.retry_after or _COME_BACK.get(error.reason)
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after.total_seconds())))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(text(body), status, headers=headers, media_type=MEDIA_TYPE)


def our_fault() -> Response:
    """The answer where no other is left: an error that nobody expected, told without its words."""
    return problem(TocsinError("something went wrong on our side", Reason.INTERNAL))


def from_invalid_value(error: InvalidValue) -> TocsinError:
    """The codec's complaint as an error of the closed list; `body` where the whole body is at fault."""
    return invalid_field(error.field or "body", error.description)
