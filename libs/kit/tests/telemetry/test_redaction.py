"""What logs keep and what they hide."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider

from tocsin_kit.telemetry.logs import configure_logs, log_user, user_hash
from tocsin_kit.telemetry.redact import MASK, is_secret, redacted, redacted_text


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("could not mail ann.o'hara+x@mail.example.co.uk today", "ann.o'hara"),
        ("to <ann@example.com>", "ann@example.com"),
        ("+13125550123 is unreachable", "3125550123"),
        ("+977 984-1234567", "984-1234567"),
        ("call (312) 555-0123", "555-0123"),
        ("call 312-555-0123.", "555-0123"),
        ("balance $1,234.50 is below", "1,234.50"),
        ("balance -12.40 is below", "12.40"),
        ("USD 500 left", "500"),
        ("threshold 500.0000", "500.0000"),
        ("12345.67", "12345.67"),
        ("Authorization: Bearer abcdefgh12345678", "abcdefgh12345678"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl", "eyJ"),
        ("key SG.abcdefghijkl.mnopqrstuvwxyz0123", "SG."),
        ("postgresql://tocsin:hunter2@db:5432/tocsin", "hunter2"),
    ],
)
def test_text_loses_what_is_private(text: str, hidden: str) -> None:
    assert hidden not in redacted_text(text)
    assert MASK in redacted_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "2025-11-03T12:00:00.123456+00:00",
        "2025-11-03 12:00:00.12",
        "01890a5d-ac96-774b-bcce-b302099a8057",
        "0af7651916cd43dd8448eb211c80319c",
        "nats://127.0.0.1:4222",
        "10.0.12.34",
        "took 0.25 s",
        "version 1.10.0 of 18.1",
        "1:due:2025-11-01",
        "GET /api/v2/alerts 404",
        "failed 3 of 1000",
        "/usr/lib/python3.11/asyncio/tasks.py, line 123",
    ],
)
def test_text_keeps_what_operators_need(text: str) -> None:
    assert redacted_text(text) == text


@pytest.mark.parametrize(
    "key", ["email", "to", "phone_number", "user.email", "X-Auth-Token", "balance_after", "sms_body", "jwt_secret"]
)
def test_a_key_hides_its_value_whatever_it_looks_like(key: str) -> None:
    for value in ("plain", 12, 1.5, Decimal("1"), b"x", ["plain"], {"any": "thing"}):
        assert redacted(key, value) == MASK


@pytest.mark.parametrize("key", ["event", "job_type", "occurrence_key", "total", "token_count_is_not"])
def test_other_keys_are_judged_by_what_they_hold(key: str) -> None:
    assert is_secret(key) is (key == "token_count_is_not")


def test_values_inside_values_are_looked_at() -> None:
    value = {"jobs": [{"email": "x", "note": "to ann@example.com"}], "count": 3, "amount": Decimal("5")}
    assert redacted("data", value) == {"jobs": [{"email": MASK, "note": f"to {MASK}"}], "count": 3, "amount": MASK}


@given(
    st.from_regex(r"[a-z]{1,12}(\.[a-z]{1,8})?@[a-z]{2,12}\.(com|org|example)", fullmatch=True),
    st.text(alphabet=" ,;:<>()[]\"'", max_size=3),
)
def test_no_address_survives_whatever_stands_around_it(address: str, around: str) -> None:
    assert address not in redacted_text(f"sent{around} {address} {around}ok")


@given(st.decimals(min_value="-99999999", max_value="99999999", places=2))
def test_no_amount_survives(amount: Decimal) -> None:
    assert str(amount).lstrip("-") not in redacted_text(f"the balance is {amount} now")


@pytest.fixture
def lines() -> Iterator[Any]:
    """Configures logging on a buffer; call it for the lines logged so far."""
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers, root.level
    configure_logs("info", "a key", "dispatcher", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def test_a_line_is_json_with_the_trace_and_without_the_person(lines: Any) -> None:
    with TracerProvider().get_tracer("test").start_as_current_span("work") as span:
        structlog.get_logger("here").info(
            "delivery_failed", delivery_id="d-1", email="ann@example.com", **log_user(7, 42)
        )
    (line,) = lines()
    assert line["trace_id"] == format(span.get_span_context().trace_id, "032x")
    assert line["span_id"] == format(span.get_span_context().span_id, "016x")
    wanted = {
        "event": "delivery_failed",
        "level": "info",
        "logger": "here",
        "service": "dispatcher",
        "delivery_id": "d-1",
        "email": MASK,
        "partner_id": 7,
        "user": user_hash(b"a key", 7, 42),
    }
    assert {key: line.get(key) for key in wanted} == wanted
    assert "user_id" not in line


def test_the_same_user_id_of_two_partners_is_two_people() -> None:
    assert user_hash(b"k", 1, 42) == user_hash(b"k", 1, 42)
    assert len({user_hash(b"k", 1, 42), user_hash(b"k", 2, 42), user_hash(b"other", 1, 42)}) == 3


def test_exceptions_and_other_libraries_are_redacted_too(lines: Any) -> None:
    try:
        raise ValueError("no such recipient: ann@example.com")
    except ValueError:
        structlog.get_logger("here").exception("failed", to="ann@example.com")
        logging.getLogger("somebody.else").warning("cannot mail %s for %s", "ann@example.com", "$12.50")
    text = json.dumps(lines())
    assert "ann@" not in text
    assert "12.50" not in text
    assert "no such recipient" in text
    assert [line["level"] for line in lines()] == ["error", "warning"]


def test_the_frames_of_web_sockets_are_told_at_no_level() -> None:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    configure_logs("debug", "a key", stream=stream)
    logging.getLogger("uvicorn.error").debug('< TEXT \'{"type": "hello", "token": "eyJh...\'')
    logging.getLogger("uvicorn.error").info("Finished server process")
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    assert "hello" not in stream.getvalue()
    assert "Finished" in stream.getvalue()


def test_what_is_below_the_level_is_not_written(lines: Any) -> None:
    structlog.get_logger("here").debug("chatter")
    logging.getLogger("uvicorn.access").info("GET / 200")
    assert lines() == []
