"""Page tokens: opaque to callers, who may send anything."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest

from tocsin_dispatcher.doors.paging import place_of, token_of
from tocsin_dispatcher.store.notifications import Place
from tocsin_kit.rpc.errors import TocsinError

AT, ID = datetime(2025, 11, 3, 15, 0, 0, 123456, UTC), UUID("01935f4e-0000-7000-8000-000000000001")


def token(told: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(told).encode()).decode()


def test_a_token_leads_back_to_its_place() -> None:
    assert place_of(token_of(AT, ID)) == Place(AT, ID)
    assert place_of(token_of(AT.astimezone(timezone(timedelta(hours=-5))), ID)) == Place(AT, ID)
    assert place_of("") is None


@pytest.mark.parametrize(
    "made_up",
    [
        "x",
        "é",
        token(7),
        token([AT.isoformat()]),
        token([AT.isoformat(), "no id"]),
        token([AT.replace(tzinfo=None).isoformat(), str(ID)]),
        token(["0001-01-01T00:00:00+14:00", str(ID)]),  # before the first instant that can be asked for
        token(["9999-12-31T23:59:59-14:00", str(ID)]),
        base64.urlsafe_b64encode(b"[" * 300).decode(),
    ],
)
def test_a_token_that_nobody_gave_is_refused_by_its_name(made_up: str) -> None:
    with pytest.raises(TocsinError) as refused:
        place_of(made_up)
    assert [violation.field for violation in refused.value.violations] == ["page_token"]
