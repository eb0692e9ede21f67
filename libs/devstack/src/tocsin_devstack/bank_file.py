"""Reads a bank's CSV file: date, description, amount (or debit and credit), optional balance and category."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "date": ("date", "posted", "posting date", "post date", "transaction date", "posted_on"),
    "description": ("description", "details", "memo", "payee", "merchant", "name", "narrative"),
    "amount": ("amount", "value"),
    "debit": ("debit", "withdrawal", "withdrawals", "paid out"),
    "credit": ("credit", "deposit", "deposits", "paid in"),
    "balance": ("balance_after", "balance", "running balance", "running bal."),
    "category": ("category",),
}


class BankFileError(Exception):
    """The file is not what this reader understands; the message names the line."""


@dataclass(frozen=True)
class BankLine:
    """One line of a bank's file. `number` is its line in the file, `ordinal` counts transactions from 1."""

    number: int
    ordinal: int
    on: date
    description: str
    amount: Decimal
    balance_after: Decimal
    category: str

    @property
    def source(self) -> str:
        """Where a reader finds it."""
        return f"line {self.number}"


def read_bank_file(path: Path) -> list[BankLine]:
    """The file's lines, oldest first. Without a balance column the balance is the running sum from 0.

    Raises BankFileError naming the line and column that cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = _columns(reader.fieldnames or (), path)
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BankFileError(f"{path}: cannot be read as CSV: {error}") from error
    lines = [_line(number, row, columns) for number, row in rows if any(row.values())]
    if not lines:
        raise BankFileError(f"{path}: holds no transaction")
    return _numbered(lines, "balance" in columns)


def _columns(names: Sequence[str], path: Path) -> dict[str, str]:
    by_plain_name = {name.strip().casefold(): name for name in names}
    found = {
        meaning: next(by_plain_name[alias] for alias in aliases if alias in by_plain_name)
        for meaning, aliases in COLUMNS.items()
        if any(alias in by_plain_name for alias in aliases)
    }
    missing = [meaning for meaning in ("date", "description") if meaning not in found]
    if "amount" not in found and not {"debit", "credit"} <= found.keys():
        missing.append("amount")
    if missing:
        raise BankFileError(f"{path}: no column for {', '.join(missing)} among {', '.join(names) or 'nothing'}")
    return found


@dataclass(frozen=True)
class _Raw:
    number: int
    on: date
    description: str
    amount: Decimal
    balance: Decimal | None
    category: str


def _line(number: int, row: Mapping[str, str | None], columns: Mapping[str, str]) -> _Raw:
    def text(meaning: str) -> str:
        return (row.get(columns[meaning]) or "").strip() if meaning in columns else ""

    balance = text("balance")
    return _Raw(
        number=number,
        on=_day(text("date"), number),
        description=" ".join(text("description").split()) or "(no description)",
        amount=_amount(number, text),
        balance=_decimal(balance, number, "balance") if balance else None,
        category=text("category"),
    )


def _amount(number: int, text: Callable[[str], str]) -> Decimal:
    signed = text("amount")
    if signed:
        return _decimal(signed, number, "amount")
    debit, credit = text("debit"), text("credit")
    if not debit and not credit:
        raise BankFileError(f"line {number}: no amount")
    paid_in = _decimal(credit, number, "credit") if credit else Decimal(0)
    paid_out = _decimal(debit, number, "debit") if debit else Decimal(0)
    return paid_in - abs(paid_out)


def _day(text: str, number: int) -> date:
    """`2025-11-01`, with or without a time after it, or `11/01/2025` as American banks write it."""
    try:
        if "/" in text:
            month, day, year = (int(part) for part in text.split("/"))
            return date(year, month, day)
        return date.fromisoformat(text[:10])
    except ValueError as error:
        raise BankFileError(f"line {number}: {text!r} is no date") from error


def _decimal(text: str, number: int, column: str) -> Decimal:
    """`-1,234.50`, `$12.00` or `(12.00)` for a negative one, in the file's currency."""
    plain = text.replace(",", "").replace("$", "").strip()
    if plain.startswith("(") and plain.endswith(")"):
        plain = "-" + plain[1:-1]
    try:
        value = Decimal(plain)
    except InvalidOperation as error:
        raise BankFileError(f"line {number}: {text!r} is no {column}") from error
    if not value.is_finite():
        raise BankFileError(f"line {number}: {text!r} is no {column}")
    return value


def _numbered(lines: list[_Raw], has_balance: bool) -> list[BankLine]:
    if lines[0].on > lines[-1].on:  # some banks write the newest first
        lines = lines[::-1]
    lines = sorted(lines, key=lambda line: line.on)
    result: list[BankLine] = []
    balance = Decimal(0)
    for ordinal, line in enumerate(lines, start=1):
        balance = line.balance if has_balance and line.balance is not None else balance + line.amount
        result.append(BankLine(line.number, ordinal, line.on, line.description, line.amount, balance, line.category))
    return result
