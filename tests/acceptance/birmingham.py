"""The purchase cards of the city of Birmingham as a plain count reads them: by csv, gzip and Decimal alone."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path


@dataclass(frozen=True)
class Line:
    """A purchase as the file has it, white space squeezed; money out is positive."""

    on: date
    amount: Decimal
    currency: str
    merchant: str
    card: str
    directorate: str

    @property
    def name(self) -> str:
        """The merchant as alerts compare it: the file is ASCII, so that only case and white space can differ."""
        return self.merchant.casefold()


def plain_rows(path: Path) -> list[dict[str, str]]:
    """The file's rows."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def plain_lines(rows: Iterable[dict[str, str]]) -> list[Line]:
    """What they say: the amount is what was billed, where that is not said what it cost."""
    return [
        Line(
            on=date.fromisoformat(row["TRANS DATE"]),
            amount=Decimal(row["BILLING GROSS AMT"] or row["ORIGINAL GROSS AMT"]),
            currency=row["BILLING CUR CODE"] or "GBP",
            merchant=" ".join(row["MERCHANT NAME"].split()),
            card=row["CARD NUMBER"],
            directorate=row["Directorate"],
        )
        for row in rows
    ]


def between(rows: Sequence[dict[str, str]], first: date, last: date) -> list[dict[str, str]]:
    """Those of some days."""
    return [row for row in rows if f"{first}" <= row["TRANS DATE"] <= f"{last}"]


def as_csv(rows: Sequence[dict[str, str]]) -> bytes:
    """The rows as a file of their own."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
