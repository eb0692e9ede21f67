"""Page tokens: opaque to callers, a place in a list to us."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from uuid import UUID

from tocsin_kit.rpc.errors import TocsinError, invalid_field
from tocsin_scheduler.store.jobs import Place

_DEFAULT_SIZE = 50


def size_of(requested: int) -> int:
    """The page's size; 50 where none is asked for."""
    return requested or _DEFAULT_SIZE


def job_token(place: Place) -> str:
    """The token of the page after `place`."""
    return _write([place.created_at.isoformat(), str(place.id)])


def job_place(token: str) -> Place | None:
    """Where the page begins; None for the first. Raises invalid_field."""
    if not token:
        return None
    match _read(token):
        case [str(created_at), str(id_)]:
            try:
                instant = datetime.fromisoformat(created_at)
                if instant.tzinfo is not None:
                    return Place(instant, UUID(id_))
            except ValueError:
                raise _refused() from None
    raise _refused()


def name_token(name: str) -> str:
    """The token of the page after the schedule `name`."""
    return _write([name])


def name_place(token: str) -> str | None:
    """After which name the page begins; None for the first. Raises invalid_field."""
    if not token:
        return None
    match _read(token):
        case [str(name)] if "\0" not in name:
            return name
    raise _refused()


def _write(place: list[str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _read(token: str) -> object:
    try:
        return json.loads(base64.urlsafe_b64decode(token.encode()))
    except ValueError:
        raise _refused() from None


def _refused() -> TocsinError:
    return invalid_field("page_token", "is not one that a page before gave")
