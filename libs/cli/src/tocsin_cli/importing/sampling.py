"""Cuts a CSV file's text into columns: its delimiter, its row of headings, and a sample of rows from all over it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from tocsin_cli.importing import headings
from tocsin_cli.importing.mapping import Hints, Meaning
from tocsin_cli.importing.opening import Unreadable
from tocsin_cli.importing.records import good, numbered

AMOUNTS = (Meaning.AMOUNT, Meaning.DEBIT, Meaning.CREDIT)
_DELIMITERS = (",", ";", "\t", "|")
#: Above the headings banks write whose statement it is, and of which days.
_MOST_PREAMBLE = 30
_SAMPLE = 2_000


@dataclass(frozen=True)
class Table:
    """The headings, and rows from all over the file."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]

    def values(self, *names: str) -> list[str]:
        """What stands in a column where it is not empty; of several columns the first that is not."""
        places = [self.headings.index(name) for name in names if name in self.headings]
        found = (next((row[place].strip() for place in places if cell(row, place)), "") for row in self.rows)
        return [value for value in found if value]


def cell(row: Sequence[str], place: int) -> str:
    """What stands in a row at a place, empty where the row is shorter."""
    return row[place].strip() if place < len(row) else ""


def delimiter_of(text: str, hints: Hints) -> str:
    """The one under which a row of headings shows, else the one that makes the most columns."""
    heads = {each: _head(text, each) for each in _DELIMITERS}
    for each, records in heads.items():
        if any(_is_heading(record, hints) for record in records[:_MOST_PREAMBLE]):
            return each
    return max(heads, key=lambda each: _usual_width(heads[each]))


def table_of(text: str, delimiter: str, hints: Hints) -> Table:
    """The headings and the sample. Raises Unreadable where no row heads a date and an amount."""
    records = good(numbered(text, delimiter))
    head = list(islice(records, _MOST_PREAMBLE))
    place = next((place for place, record in enumerate(head) if _is_heading(record, hints)), None)
    if place is None:
        raise Unreadable(
            "no row heads a date and an amount (or debit and credit); its first row is "
            f"{' | '.join(head[0]) if head else 'empty'}: name the columns with --column"
        )
    step = max(1, text.count("\n") // _SAMPLE)
    rows = [*head[place + 1 :], *(record for number, record in enumerate(records) if number % step == 0)]
    return Table([cell.strip() for cell in head[place]], [row for row in rows if row != head[place]])


def _head(text: str, delimiter: str) -> list[list[str]]:
    return list(islice(good(numbered(text, delimiter)), _MOST_PREAMBLE * 2))


def _usual_width(records: Sequence[Sequence[str]]) -> int:
    return next((width for width, _ in Counter(map(len, records)).most_common(1)), 0)


def _is_heading(record: Sequence[str], hints: Hints) -> bool:
    """Whether a row heads columns: a date and an amount, or debit or credit."""

    def has(meaning: Meaning) -> bool:
        names = hints.columns.of(meaning)
        cells = [cell.strip() for cell in record]
        return any(name in cells for name in names) if names else bool(candidates(cells, meaning))

    return has(Meaning.DATE) and any(has(meaning) for meaning in AMOUNTS)


def candidates(names: Sequence[str], meaning: Meaning, words: Sequence[str] = ()) -> list[str]:
    """The headings that may mean it, the likeliest first."""
    known = words or headings.WORDS.get(meaning, ())
    ranked = [(rank, name) for name in names if (rank := headings.rank(meaning, name, known)) is not None]
    return [name for _, name in sorted(ranked, key=lambda pair: pair[0])]
