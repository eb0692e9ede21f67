"""Decides how a bank writes dates, amounts and signs, from a sample."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

from tocsin_cli.importing import headings
from tocsin_cli.importing.amounts import DecimalMark, decimal_mark_of, may_be_thousands, read_amount
from tocsin_cli.importing.days import day_first, fitting_formats, in_order, month_first
from tocsin_cli.importing.mapping import Columns, Hints, Meaning, Sign
from tocsin_cli.importing.opening import Unreadable
from tocsin_cli.importing.sampling import AMOUNTS, Table, cell
from tocsin_cli.importing.texts import short
from tocsin_kit.money import is_currency

_MANY, _HALF = 0.75, 0.5
#: Fewer amounts, or amounts that agree less, do not tell by their number which sign is money out.
_ENOUGH, _CLEAR = 10, 0.9
_SYMBOLS = {"$": "USD", "£": "GBP", "€": "EUR", "¥": "JPY", "₹": "INR"}
_MONTH_FIRST_CURRENCIES = frozenset(("USD",))
#: Rows that follow each other, whose balances are looked at.
_IN_A_ROW = 25


class Style:
    """Decides how dates, amounts and signs are written; says why, and what it doubts."""

    def __init__(self, table: Table, columns: Columns, delimiter: str, hints: Hints) -> None:
        self._table, self._columns, self._delimiter, self._hints = table, columns, delimiter, hints
        self.because: dict[str, str] = {}
        self.doubts: list[str] = []
        amounts = [value for meaning in AMOUNTS for value in self._values(meaning)]
        self._amounts = amounts
        self.mark = hints.decimal_mark or self._decide_mark()
        self._currency, self._why_currency = self._decide_currency()

    def _values(self, meaning: Meaning) -> list[str]:
        return self._table.values(*self._columns.of(meaning))

    def _decide_mark(self) -> DecimalMark:
        """The mark before cents; where no amount has any, the country's, which may be wrong about `1.200`."""
        seen = decimal_mark_of(self._amounts)
        if seen is None and (unclear := next(filter(may_be_thousands, self._amounts), None)) is not None:
            self.doubts.append(f"{short(unclear)} may be a whole amount or have decimals: say --decimal-mark . or ,")
        return seen or ("," if self._delimiter == ";" else ".")

    def currency(self) -> str:
        """The currency of rows that name none."""
        if self._why_currency:
            self.because["currency"] = self._why_currency
        return self._currency

    def _decide_currency(self) -> tuple[str, str]:
        if self._hints.currency:
            return self._hints.currency, ""
        named = Counter(self._values(Meaning.CURRENCY)).most_common(1)
        if named:
            return named[0][0], "the most frequent in its column"
        names = " ".join(name for meaning in AMOUNTS for name in self._columns.of(meaning))
        for code in re.findall(r"\b[A-Z]{3}\b", names):
            if is_currency(code):
                return code, "the heading says so"
        shown = next((symbol for symbol in _SYMBOLS if any(symbol in each for each in [names, *self._amounts])), None)
        return (_SYMBOLS[shown], f"amounts show {shown}") if shown else ("USD", "the file does not say")

    def date_format(self) -> str:
        """The format that fits; of two that do, the one that keeps the file's order, then the country's."""
        if self._hints.date_format:
            return self._hints.date_format
        texts = self._values(Meaning.DATE)
        fitting = fitting_formats(texts)
        if not fitting:
            shown = ", ".join(texts[:3]) or "nothing"
            raise Unreadable(f"the dates are in no format that is known here ({shown}): say --date-format")
        ordered = [each for each in fitting if in_order(each, texts)]
        for kept, why in ((fitting, ""), (ordered, "in this format the rows are in order")):
            if len(kept) == 1:
                self.because["date_format"] = why
                return kept[0]
        return self._by_country(ordered or fitting)

    def _by_country(self, fitting: Sequence[str]) -> str:
        day, month = day_first(fitting), month_first(fitting)
        if day is None or month is None:
            return fitting[0]
        if self.mark == "," or self._delimiter == ";" or self._currency not in _MONTH_FIRST_CURRENCIES:
            self.because["date_format"] = "outside the United States the day comes first"
            return day
        if self._columns.of(Meaning.CURRENCY):
            self.because["date_format"] = "in the United States the month comes first"
            return month
        self.doubts.append(f"dates may be month first or day first: say --date-format '{month}' or '{day}'")
        return month

    def sign(self) -> Sign:
        """By the running balance where there is one, else by whose the file is and which sign is the usual one."""
        amounts = self._amounts_by_sign()
        if self._hints.sign or not amounts or self._columns.of(Meaning.DIRECTION):
            return self._hints.sign or Sign.ACCOUNT
        if (by_balance := self._sign_by_balance()) is not None:
            self.because["sign"] = "the running balance says so"
            return by_balance
        return self._sign_by_count(amounts)

    def _amounts_by_sign(self) -> list[str]:
        """The amounts of which the sign decides whether they went out: no zeros, none with CR or DR."""
        texts = self._values(Meaning.AMOUNT)
        both = [(read_amount(each, self.mark), read_amount(each, self.mark, reversed_=True)) for each in texts]
        return [amount for amount, turned in both if amount is not None and amount != turned]

    def _sign_by_count(self, amounts: Sequence[str]) -> Sign:
        """By which sign most have; doubted where they are few or of both signs, or positive and of no card."""
        positive = sum(not amount.startswith("-") for amount in amounts)
        self.because["sign"] = f"{positive} of {len(amounts)} amounts looked at are positive"
        of_card = any(headings.words_of(name) & headings.CARD_WORDS for name in self._table.headings)
        sign = Sign.REVERSED if positive > len(amounts) * (_HALF if of_card else _MANY) else Sign.ACCOUNT
        agreeing = max(positive, len(amounts) - positive)
        is_clear = len(amounts) >= _ENOUGH and agreeing >= len(amounts) * _CLEAR
        if not is_clear or (sign is Sign.REVERSED and not of_card):
            self.doubts.append("amounts may be money out (--sign reversed) or money in (--sign account): say which")
        return sign

    def _sign_by_balance(self) -> Sign | None:
        """Which sign leads from one balance to the next, whichever way the file goes; None where neither does."""
        columns = (self._columns.of(Meaning.AMOUNT), self._columns.of(Meaning.BALANCE))
        if not all(columns):
            return None
        places = [self._table.headings.index(names[0]) for names in columns]
        rows = [[read_amount(cell(row, place), self.mark) for place in places] for row in self._table.rows[:_IN_A_ROW]]
        known = [(Decimal(amount), Decimal(balance)) for amount, balance in rows if amount and balance]
        steps = [(before, later - balance, amount) for (before, balance), (amount, later) in pairwise(known)]
        as_seen = sum((step == amount) + (step == -before) for before, step, amount in steps)
        turned = sum((step == -amount) + (step == before) for before, step, amount in steps)
        if as_seen == turned:
            return None
        return Sign.ACCOUNT if as_seen > turned else Sign.REVERSED
