"""Cuts a CSV text into records. A quotation mark that is left open swallows no rows: its line alone is refused."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO

from tocsin_cli.importing.rows import Wrong
from tocsin_cli.importing.texts import short

Record = list[str]


def numbered(text: str, delimiter: str) -> Iterator[tuple[int, Record | Wrong]]:
    """The records that hold anything, each with the line it begins on, or why there is none on that line."""
    lines = _Lines(text)
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        first = lines.place
        record: Record | Wrong
        try:
            record = next(reader)
            _require_quoted_well(lines.since(first), delimiter)
        except StopIteration:
            return
        except csv.Error as error:
            lines.place = first + 1
            record = Wrong("", short(lines.since(first)[0]), f"a quotation mark may be open ({error})")
        if isinstance(record, Wrong) or any(map(str.strip, record)):
            yield first + 1, record


def good(records: Iterator[tuple[int, Record | Wrong]]) -> Iterator[Record]:
    """Those that can be read."""
    return (record for _, record in records if not isinstance(record, Wrong))


def _require_quoted_well(lines: list[str], delimiter: str) -> None:
    """Raise csv.Error where a record spans lines but its quotation marks are not where they belong."""
    if len(lines) > 1:
        list(csv.reader(lines, delimiter=delimiter, strict=True))


class _Lines:
    """The lines of a text with their ends. `place` lines are read; it may be set back."""

    def __init__(self, text: str) -> None:
        self._lines = StringIO(text, newline="").readlines()
        self.place = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.place == len(self._lines):
            raise StopIteration
        self.place += 1
        return self._lines[self.place - 1]

    def since(self, first: int) -> list[str]:
        """Those that were read after the `first` ones."""
        return self._lines[first : self.place]
