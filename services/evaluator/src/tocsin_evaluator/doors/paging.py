"""Page tokens: opaque to callers, a place in a list to us."""

import base64
import json
from datetime import UTC, datetime
from uuid import UUID

from tocsin_evaluator.model.words import KindName, Way
from tocsin_evaluator.store.ledger import Place
from tocsin_kit.rpc.errors import TocsinError, invalid_field

_DEFAULT_SIZE = 50
_LARGEST_ID = 2**63 - 1


def size_of(requested: int) -> int:
    """The page's size; 50 where none is asked for."""
    return requested or _DEFAULT_SIZE


def alert_token(last_id: int) -> str:
    """The token of the page after an alert."""
    return _write([last_id])


def alert_place(token: str) -> int | None:
    """The id below which the page begins; None for the first. Raises invalid_field."""
    if not token:
        return None
    match _read(token):
        case [int(id_)] if not isinstance(id_, bool) and 0 < id_ <= _LARGEST_ID:
            return id_
    raise _refused()


def firing_token(fired_at: datetime, id_: UUID) -> str:
    """The token of the page after a firing."""
    return _write([fired_at.isoformat(), str(id_)])


def firing_place(token: str) -> tuple[datetime, UUID] | None:
    """The place after which the page begins; None for the first. Raises invalid_field."""
    if not token:
        return None
    match _read(token):
        case [str(fired_at), str(id_)]:
            try:
                instant = datetime.fromisoformat(fired_at)
                if instant.tzinfo is not None:
                    return instant, UUID(id_)
            except ValueError:
                raise _refused() from None
    raise _refused()


def ledger_token(place: Place) -> str:
    """The token of the page after a line of the ledger."""
    minute, kind, way = place
    return _write([minute.isoformat(), kind, way])


def ledger_place(token: str) -> Place | None:
    """The place after which the page begins; None for the first. Raises invalid_field."""
    if not token:
        return None
    match _read(token):
        case [str(minute), str(kind), str(way)]:
            try:
                return datetime.fromisoformat(minute).astimezone(UTC), KindName(kind).value, Way(way).value
            except (ValueError, OverflowError):
                raise _refused() from None
    raise _refused()


def _write(place: list[object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _read(token: str) -> object:
    try:
        return json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, RecursionError):
        raise _refused() from None


def _refused() -> TocsinError:
    return invalid_field("page_token", "is not one that a page before gave")
