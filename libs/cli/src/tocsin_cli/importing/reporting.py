"""What a person sees of an import: the guess before, what became of the rows after, the file of refused rows."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tocsin_cli.importing.csv_file import first_rows
from tocsin_cli.importing.guessing import Guess
from tocsin_cli.importing.identity import Repeats
from tocsin_cli.importing.mapping import Mapping, Meaning, Sign
from tocsin_cli.importing.ordering import Dated
from tocsin_cli.importing.rows import Refusal, Wrong
from tocsin_cli.importing.texts import short
from tocsin_cli.show import console, say, table

_SHOWN_REFUSALS, _SHOWN_ROWS, _SHOWN_VALUES = 20, 3, 3
_REPORT_HEADING = ("line", "field", "value", "why")
_DELIMITERS = {"\t": "tab", " ": "space"}


@dataclass(frozen=True)
class Tally:
    """What became of a file's rows: `read` are `accepted`, `refused`, `left_out` as repeats, or not sent yet."""

    read: int
    accepted: int
    refused: int
    repeats: int
    left_out: int

    @property
    def unsent(self) -> int:
        """Rows that no answer came for."""
        return self.read - self.accepted - self.refused - self.left_out


def show_guess(name: str, guess: Guess) -> None:
    """What each column is taken for, how the bank writes, and the first rows as they would be sent."""
    say(f"{name} is read like this:\n")
    table(("what", "where", "how", "for example"), [*_column_lines(guess), *_style_lines(guess)], nothing="")
    say("\nIts first rows, as they would be sent:\n")
    read = first_rows(guess.sample.headings, guess.sample.rows[:_SHOWN_ROWS], guess.mapping)
    table(
        ("posted", "amount", "currency", "merchant", "description", "category", "balance after"),
        [_wrong_line(each) if isinstance(each, Wrong) else _row_line(each) for each in read],
        nothing="no rows",
    )
    for doubt in guess.doubts:
        console().print(f"\n[bold yellow]doubtful[/] {doubt}")


def _column_lines(guess: Guess) -> list[tuple[str, ...]]:
    columns = guess.mapping.columns
    return [
        (
            meaning.value,
            ", else ".join(columns.of(meaning)),
            _how(meaning, guess),
            ", ".join(short(value) for value in _distinct(guess.sample.values(*columns.of(meaning)))),
        )
        for meaning in Meaning
        if columns.of(meaning)
    ]


def _distinct(values: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(values))[:_SHOWN_VALUES]


def _how(meaning: Meaning, guess: Guess) -> str:
    mapping, because = guess.mapping, guess.because
    match meaning:
        case Meaning.DATE:
            return _with_reason(mapping.date_format, because.get("date_format", ""))
        case Meaning.AMOUNT if not mapping.columns.of(Meaning.DIRECTION):
            reading = "money out is positive" if mapping.sign is Sign.REVERSED else "money out is negative"
            return _with_reason(reading, because.get("sign", ""))
        case Meaning.ACCOUNT:
            return "hashed to an account id"
        case Meaning.ID:
            return "a whole number is the id" if mapping.id_is_said else "hashed with its account"
    return ""


def _with_reason(what: str, why: str) -> str:
    return f"{what} ({why})" if why else what


def _style_lines(guess: Guess) -> list[tuple[str, ...]]:
    mapping = guess.mapping
    currency = _with_reason(mapping.currency, guess.because.get("currency", ""))
    only = "where a row names none" if mapping.columns.of(Meaning.CURRENCY) else "all rows"
    return [
        ("currency", only, currency, ""),
        ("text", "the file", _text_style(mapping), ""),
    ]


def _text_style(mapping: Mapping) -> str:
    delimiter = _DELIMITERS.get(mapping.delimiter, mapping.delimiter)
    return f"{mapping.encoding}, columns parted by {delimiter}, decimal mark {mapping.decimal_mark}"


def _row_line(row: Dated) -> tuple[str, ...]:
    fact = row.fact
    posted = fact.posted_on or fact.posted_at.ToJsonString()
    texts = (short(fact.merchant), short(fact.description), short(fact.category))
    return (posted, fact.amount, fact.currency, *texts, fact.balance_after)


def _wrong_line(wrong: Wrong) -> tuple[str, ...]:
    return ("refused", short(wrong.value), "", wrong.field, wrong.why, "", "")


def show_refused(refused: Sequence[Refusal], report: Path) -> None:
    """The first refused rows, and where all of them are."""
    if not refused:
        return
    say("")
    table(
        ("line", "field", "value", "why it is refused"),
        [(str(each.line), each.field, each.value, each.why) for each in refused[:_SHOWN_REFUSALS]],
        nothing="",
    )
    if len(refused) > _SHOWN_REFUSALS:
        say(f"and {len(refused) - _SHOWN_REFUSALS:,} more")
    say(f"all {len(refused):,} of them are in {report}")


def show_tally(name: str, tally: Tally, repeats: Repeats, *, only_checked: bool) -> None:
    """One line of counts."""
    words = "each a purchase of its own" if repeats is Repeats.PURCHASES else "taken as one with the first"
    alike = f" ({words})" if tally.repeats else ""
    taken = f"{tally.unsent:,} good" if only_checked else f"{tally.accepted:,} accepted"
    unsent = f", {tally.unsent:,} not sent" if tally.unsent and not only_checked else ""
    say(
        f"{name}: {tally.read:,} rows read, {taken}, {tally.refused:,} refused, "
        f"{tally.repeats:,} repeats{alike}{unsent}{'; nothing was sent' if only_checked else ''}"
    )


def report_of(file: Path) -> Path:
    """Where a file's refused rows are written unless something else is said."""
    return file.with_name(f"{file.name}.refused.csv")


def is_report(path: Path) -> bool:
    """Whether a file is one that `write_refused` wrote. Raises OSError."""
    if not path.is_file():
        return False  # a pipe could be read only once
    with path.open("rb") as file:
        return file.readline().strip() == ",".join(_REPORT_HEADING).encode()


def write_refused(report: Path, refused: Sequence[Refusal]) -> None:
    """Write every refused row to a file that only its owner may read; an older one is emptied.

    Raises OSError, also where another file than such a one has the report's name.
    """
    exists = report.exists()
    if not refused and not exists:
        return
    if exists and report.stat().st_size and not is_report(report):
        raise FileExistsError(f"{report} is no report of refused rows and is left as it is")
    with os.fdopen(os.open(report, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", -1, "utf-8", newline="") as file:
        if report.is_file():  # and not /dev/null
            os.fchmod(file.fileno(), 0o600)
        writer = csv.writer(file)
        writer.writerow(_REPORT_HEADING)
        writer.writerows((each.line, each.field, each.value, each.why) for each in refused)
