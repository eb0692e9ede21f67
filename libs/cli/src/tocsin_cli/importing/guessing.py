"""Guesses how to read a CSV file, from its headings and a sample of its rows.

Order: the encoding, the delimiter and the row of headings (`sampling`); each meaning's column (`choosing`); then how
dates, amounts and signs are written (`style`). What is said (`Hints`) is never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

from tocsin_cli.importing.choosing import ColumnChooser
from tocsin_cli.importing.mapping import Hints, Mapping, Meaning, make_mapping
from tocsin_cli.importing.opening import encoding_of, text_of
from tocsin_cli.importing.sampling import Table, delimiter_of, table_of
from tocsin_cli.importing.style import Style


@dataclass(frozen=True)
class Guess:
    """A mapping, why it is as it is (by the name of what was decided), what is doubtful, and its table's sample."""

    mapping: Mapping
    because: dict[str, str]
    doubts: tuple[str, ...]
    sample: Table


def guess(content: bytes, hints: Hints) -> Guess:
    """The mapping of a file's content. Raises Unreadable, MappingError."""
    encoding = hints.encoding or encoding_of(content)
    text = text_of(content, encoding)
    delimiter = hints.delimiter or delimiter_of(text, hints)
    table = table_of(text, delimiter, hints)
    columns = ColumnChooser(table, hints).all()
    style = Style(table, columns, delimiter, hints)
    mapping = make_mapping(
        {
            "encoding": encoding,
            "delimiter": delimiter,
            "date_format": style.date_format(),
            "time_zone": hints.time_zone or "",
            "decimal_mark": style.mark,
            "sign": style.sign(),
            "currency": style.currency(),
            "columns": columns,
            "id_is_said": bool(hints.columns.of(Meaning.ID)),
        }
    )
    return Guess(mapping, style.because, tuple(style.doubts), table)
