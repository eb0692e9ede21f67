"""Page tokens: opaque to callers, a place in a list to us."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from uuid import UUID

from tocsin_dispatcher.store.notifications import Place
from tocsin_kit.rpc.errors import TocsinError, invalid_field

_DEFAULT_SIZE = 50


def size_of(requested: int) -> int:
    """The page's size; 50 where none is asked for."""
    return requested or _DEFAULT_SIZE


def token_of(created_at: datetime, id_: UUID) -> str:
    """The token of the page after this place."""
    return base64.urlsafe_b64encode(json.dumps([created_at.isoformat(), str(id_)]).encode()).decode()


def place_of(token: str) -> Place | None:
    """Where the page begins; None for the first. Raises invalid_field."""
    if not token:
        return None
    try:
        match json.loads(base64.urlsafe_b64decode(token.encode())):
            case [str(created_at), str(id_)]:
                instant = datetime.fromisoformat(created_at)
                if instant.tzinfo is not None:
                    return Place(instant.astimezone(UTC), UUID(id_))
    except (ValueError, OverflowError):
        raise _refused() from None
    raise _refused()


def _refused() -> TocsinError:
    return invalid_field("page_token", "is not one that a page before gave")
