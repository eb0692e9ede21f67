"""How answers look."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.markup import escape
from rich.table import Table

_WIDE = 400


def console() -> Console:
    """Standard output: as wide as the terminal, and never cutting a column when it is a pipe."""
    return Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False, soft_wrap=not sys.stdout.isatty())


def complain(text: str) -> None:
    """Say what is wrong, on standard error."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]error[/] {escape(text)}")


def say(text: str) -> None:
    """A line of plain text."""
    console().print(escape(text))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, nothing: str) -> None:
    """Print rows under columns, or `nothing` when there are none. The first column is never broken or cut."""
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for number, column in enumerate(columns):
        shown.add_column(column, no_wrap=number == 0, overflow="fold")
    for row in rows:
        shown.add_row(*(escape(cell) for cell in row))
    console().print(shown if shown.row_count else escape(nothing))


def fields(pairs: Iterable[tuple[str, str]]) -> None:
    """Print names and values below each other; empty values are left out."""
    shown = Table(box=None, show_header=False, pad_edge=False)
    shown.add_column(style="bold", no_wrap=True)
    shown.add_column(overflow="fold")
    for name, value in pairs:
        if value:
            shown.add_row(name, escape(value))
    console().print(shown)


def instant(value: Timestamp) -> str:
    """An instant to the second, in UTC; empty when it is not set."""
    return value.ToDatetime().strftime("%Y-%m-%d %H:%M:%SZ") if value.seconds else ""


def seconds(value: Duration) -> str:
    """A span in seconds; empty when it is not set."""
    return f"{value.ToTimedelta() / timedelta(seconds=1):.2f} s" if value.ByteSize() else ""
