"""Chooses the column of each meaning by its heading, and by whether such values stand in it.

The bank's ids are taken by their heading alone: were their values looked at, two exports that overlap could differ, one
read by the bank's ids and the other by hashes, and rows be stored twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tocsin_cli.importing import headings
from tocsin_cli.importing.amounts import looks_like_an_amount
from tocsin_cli.importing.days import fitting_formats
from tocsin_cli.importing.mapping import Columns, Hints, Meaning
from tocsin_cli.importing.sampling import Table, candidates
from tocsin_kit.money import is_currency

_HALF = 0.5
#: Those that others are told by come first; a heading has one meaning.
_ORDER = (
    *(Meaning.BALANCE, Meaning.AMOUNT, Meaning.DEBIT, Meaning.CREDIT, Meaning.DATE, Meaning.CURRENCY),
    *(Meaning.DIRECTION, Meaning.CATEGORY, Meaning.ID, Meaning.MERCHANT, Meaning.DESCRIPTION, Meaning.ACCOUNT),
)
#: A second column stands in where the first is empty.
_WITH_FALLBACK = frozenset((Meaning.AMOUNT, Meaning.CURRENCY, Meaning.MERCHANT, Meaning.DESCRIPTION))
#: A date's format may be said, or complained of; ids may stand in rows that were not looked at.
_BY_HEADING_ALONE = frozenset((Meaning.DATE, Meaning.ID))


class ColumnChooser:
    """Chooses the columns of one table."""

    def __init__(self, table: Table, hints: Hints) -> None:
        self._table, self._hints = table, hints
        self._taken: set[str] = {name for meaning in Meaning for name in hints.columns.of(meaning)}
        self._chosen: dict[Meaning, tuple[str, ...]] = {}

    def all(self) -> Columns:
        """The columns, those that are said among them."""
        for meaning in _ORDER:
            self._choose(meaning)
        self._one_kind_of_amount()
        self._merchant_from_description()
        said = {meaning: self._hints.columns.of(meaning) for meaning in self._hints.columns.said()}
        return Columns.model_validate({**self._chosen, **said})

    def _choose(self, meaning: Meaning) -> None:
        """Take the likeliest column that holds such values, and where it has gaps the next ones."""
        if meaning in self._hints.columns.said() or (meaning is Meaning.DIRECTION and not self._wants_direction()):
            return
        words = headings.DATES_WITH_BALANCE if meaning is Meaning.DATE and self._has(Meaning.BALANCE) else ()
        names = [name for name in candidates(self._table.headings, meaning, words) if name not in self._taken]
        fitting = [name for name in names if self._fits(meaning, self._table.values(name))]
        chosen = fitting[:1]
        if not chosen and meaning in _BY_HEADING_ALONE:
            chosen = names[:1]
        for name in fitting[1:] if meaning in _WITH_FALLBACK else ():
            if len(self._table.values(*chosen, name)) > len(self._table.values(*chosen)):
                chosen.append(name)
        if chosen:
            self._taken.update(chosen)
            self._chosen[meaning] = tuple(chosen)

    def _has(self, meaning: Meaning) -> bool:
        return meaning in self._chosen or bool(self._hints.columns.of(meaning))

    def _values(self, meaning: Meaning) -> list[str]:
        return self._table.values(*(self._hints.columns.of(meaning) or self._chosen.get(meaning, ())))

    def _fits(self, meaning: Meaning, values: Sequence[str]) -> bool:
        match meaning:
            case Meaning.DATE:
                return bool(fitting_formats(values))
            case Meaning.AMOUNT | Meaning.BALANCE:
                return bool(values) and _are_amounts(values)
            case Meaning.DEBIT | Meaning.CREDIT:
                return _are_amounts(values)
            case Meaning.CURRENCY:
                return bool(values) and all(is_currency(value) for value in values)
            case Meaning.DIRECTION:
                known = headings.MONEY_OUT | headings.MONEY_IN
                return bool(values) and all(value.casefold() in known for value in values)
        return bool(values)

    def _wants_direction(self) -> bool:
        """Numbers that are negative at times need no other column to say so."""
        values = self._values(Meaning.AMOUNT)
        return bool(values) and not any(re.search(r"[-−(]", value) for value in values)

    def _one_kind_of_amount(self) -> None:
        """What is said, else debit and credit where there are both, else the amount, else the one of them there is."""
        said = self._hints.columns
        both = self._has(Meaning.DEBIT) and self._has(Meaning.CREDIT)
        apart = bool(said.of(Meaning.DEBIT) or said.of(Meaning.CREDIT)) or both or not self._has(Meaning.AMOUNT)
        unwanted = (Meaning.AMOUNT,) if apart and not said.of(Meaning.AMOUNT) else (Meaning.DEBIT, Meaning.CREDIT)
        for meaning in unwanted:
            self._chosen.pop(meaning, None)

    def _merchant_from_description(self) -> None:
        """Merchant alerts look at the merchant: where no column is it, the description is all that tells."""
        if not self._has(Meaning.MERCHANT) and Meaning.MERCHANT not in self._hints.columns.said():
            description = self._hints.columns.of(Meaning.DESCRIPTION) or self._chosen.get(Meaning.DESCRIPTION, ())
            if description:
                self._chosen[Meaning.MERCHANT] = description


def _are_amounts(values: Sequence[str]) -> bool:
    return sum(map(looks_like_an_amount, values)) >= _HALF * len(values)
