"""Instants and spans as people type them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import typer

from tocsin_kit.clock import SystemClock

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def now() -> datetime:
    """The present instant."""
    return SystemClock().now()


def span(text: str) -> timedelta:
    """`90s`, `30m`, `12h` or `7d`. Raises typer.BadParameter."""
    found = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no span such as 90s, 30m, 12h or 7d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def instant(text: str) -> datetime:
    """`2025-11-01T10:00Z`, with any offset, or a span: that long ago. Raises typer.BadParameter."""
    if re.fullmatch(r"[0-9]+[smhd]", text):
        try:
            return now() - span(text)
        except OverflowError:
            raise typer.BadParameter(f"{text!r} is before the calendar begins") from None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no instant such as 2025-11-01T10:00Z, and no span such as 2h") from None
    if found.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no time zone; add Z for UTC")
    return found
