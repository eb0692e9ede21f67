"""What travels over a live socket: JSON objects with a `type`.

From the client: `hello` (first; `token` unless the subprotocol carried it, `version` it knows or none to start from
now), `ack` (`ids` of notifications shown), `token` (a fresh one before the old expires). To the client: `notification`,
`read`, `deleted`, `unread`, `resync`, `error`. Versions and counts are strings, as int64 always is in JSON.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from uuid import UUID

from tocsin_gateway.transcoding.codec import parse
from tocsin_gateway.transcoding.values import InvalidValue, Json

#: Subprotocols: the first names this protocol, `tocsin.token.<jwt>` beside it carries the token.
SUBPROTOCOL = "tocsin.live.v1"
TOKEN_SUBPROTOCOL = "tocsin.token."  # noqa: S105 - a prefix, not a secret
_MOST_IDS = 1000
_INT64 = 2**63 - 1


class Close(IntEnum):
    """Why the gateway closes a socket: 4xxx are ours, the others RFC 6455's and IANA's."""

    BAD_MESSAGE = 4400
    TOKEN = 4401
    NOT_A_USER = 4403
    TRY_AGAIN = 1013


@dataclass(frozen=True)
class Hello:
    """The first message."""

    token: str | None
    version: int | None


@dataclass(frozen=True)
class Acknowledge:
    """These notifications were shown."""

    ids: tuple[str, ...]


@dataclass(frozen=True)
class FreshToken:
    """A token that takes the place of the one before."""

    token: str


def read(message: str | bytes) -> Hello | Acknowledge | FreshToken:
    """What the client says; InvalidValue when it is none of these."""
    said = parse(message.encode() if isinstance(message, str) else message)
    if not isinstance(said, Mapping):
        raise InvalidValue("must be an object")
    match said.get("type"):
        case "hello":
            return Hello(_text_or_none(said, "token"), _version(said))
        case "ack":
            return Acknowledge(_ids(said))
        case "token":
            token = _text_or_none(said, "token")
            if token is None:
                raise InvalidValue("is required", "token")
            return FreshToken(token)
        case _:
            raise InvalidValue("must be hello, ack or token", "type")


def _text_or_none(said: Mapping[str, Json], name: str) -> str | None:
    value = said.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidValue("must be a string", name)
    return value


def _version(said: Mapping[str, Json]) -> int | None:
    value = said.get("version")
    if value is None:
        return None
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal()) or len(text) > 19 or int(text) > _INT64:
        raise InvalidValue("must be a whole number", "version")
    return int(text)


def _ids(said: Mapping[str, Json]) -> tuple[str, ...]:
    values = said.get("ids")
    if not isinstance(values, Sequence) or isinstance(values, str) or not 1 <= len(values) <= _MOST_IDS:
        raise InvalidValue(f"must be a list of 1 to {_MOST_IDS} ids", "ids")
    return tuple(_id(value, place) for place, value in enumerate(values))


def _id(value: Json, place: int) -> str:
    try:
        return str(UUID(value if isinstance(value, str) else ""))
    except ValueError as error:
        raise InvalidValue("must be a UUID", f"[{place}]", "ids") from error


def notification(value: Json, version: int, *, is_read: bool) -> Json:
    """A notification as it is now: `read` where it has been read, so that a badge can follow."""
    return {"type": "read" if is_read else "notification", "version": str(version), "notification": value}


def deleted(id_: str, version: int) -> Json:
    """A notification was taken out of the inbox."""
    return {"type": "deleted", "version": str(version), "id": id_}


def unread(count: int, version: int) -> Json:
    """How many are unread at a version."""
    return {"type": "unread", "version": str(version), "count": str(count)}


def resync(version: int | None = None) -> Json:
    """Read the inbox anew, then go on from `version` (none: connect again)."""
    return {"type": "resync"} if version is None else {"type": "resync", "version": str(version)}


def error(reason: str, detail: str, field: str = "") -> Json:
    """What the client asked for did not work; the socket stays."""
    said: dict[str, Json] = {"type": "error", "reason": reason, "detail": detail}
    return {**said, "field": field} if field else said
