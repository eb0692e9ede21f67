"""The contract's rules and what they cannot say, applied before anything is sent: a bad row is named by its line."""

from __future__ import annotations

from datetime import date

from tocsin_cli.importing.rows import Refusal, Row
from tocsin_cli.importing.texts import short
from tocsin_kit.money import is_currency
from tocsin_kit.rpc.stages.validation import Validation

#: Days of the calendar, which a pattern cannot tell from 2025-02-30.
_DAYS = ("posted_on", "starts_on", "due_date", "paid_through")


class Checker:
    """Checks rows one by one."""

    def __init__(self) -> None:
        self._validation = Validation()

    def refusal_of(self, row: Row) -> Refusal | None:
        """Why the row would be refused; None where nothing is wrong."""
        found = self._validation.violations_of(row.fact)
        if found:
            return refusal(row, found[0].field, found[0].description)
        currency = row.fact.currency
        if currency and not is_currency(currency):
            return refusal(row, "currency", "is no ISO 4217 currency")
        for field in _DAYS:
            day = getattr(row.fact, field, "")
            if day and not _is_day(day):
                return refusal(row, field, "is no day of the calendar")
        return None


def refusal(row: Row, field: str, why: str) -> Refusal:
    """A row's refusal with the value of the field at fault."""
    value = getattr(row.fact, field, "") if field in row.fact.DESCRIPTOR.fields_by_name else ""
    return Refusal(row.line, field, short(str(value)), why, row.implied)


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
