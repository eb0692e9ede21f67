"""Money as decimal text: at most 18 digits, 4 of them decimals, with an ISO 4217 currency beside it."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache

from babel.core import get_global

_AMOUNT = re.compile(r"-?\d{1,14}(\.\d{1,4})?", re.ASCII)
_CENT = Decimal("0.01")


def parse_amount(text: str, field: str) -> Decimal:
    """The amount in `text` ("500.00"); ValueError names `field` when it is no such decimal."""
    if not _AMOUNT.fullmatch(text):
        raise ValueError(f"{field} must be a decimal like 500.00 with at most 14 digits and 4 decimals")
    return Decimal(text)


def amount_text(amount: Decimal) -> str:
    """The amount as text with two to four decimals and no exponent: 500.00, 0.0079."""
    short = amount.normalize()
    return f"{amount.quantize(_CENT) if short == short.quantize(_CENT) else short:f}"


@cache
def _currencies() -> frozenset[str]:
    return frozenset(get_global("all_currencies"))


def is_currency(code: str) -> bool:
    """Whether `code` is an ISO 4217 code that CLDR knows."""
    return code in _currencies()
