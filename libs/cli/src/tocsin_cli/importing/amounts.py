"""Amounts as banks write them: `1,234.50`, `1.234,50-`, `(12.00)`, `$12`, `12,00 €`, `15.00 CR`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

DecimalMark = Literal[".", ","]
_MOST_DIGITS, _MOST_DECIMALS = 14, 4
#: The longest text that is looked at; a longer one is no amount.
_LONGEST = 64
_CURRENCY = r"(?:[A-Z]{3}|[A-Z]{0,2}[$¢£¤¥\u20a0-\u20cf]|kr\.?|zł|Kč|Fr\.?)"
#: Thousands are parted by the mark that is not the decimal one, a space of any kind or an apostrophe.
_SPACES = r" \u00a0\u2009\u202f'’"
_ENDS_IN_DECIMALS = re.compile(r"([.,])\d{1,2}(?!\d)[^\d.,]*$")
_ENDS_IN_THREE_DIGITS = re.compile(r"[.,]\d{3}(?!\d)[^\d.,]*$")


def _pattern(mark: DecimalMark) -> re.Pattern[str]:
    other = re.escape("," if mark == "." else ".")
    return re.compile(
        rf"""(?P<open>\()?\s* (?P<before>[-+−])?\s* {_CURRENCY}?\s* (?P<between>[-+−])?\s*
             (?P<whole>[1-9][0-9]{{0,2}}(?:[{_SPACES}{other}][0-9]{{2,3}})*[{_SPACES}{other}][0-9]{{3}}|[0-9]+)?
             (?:{re.escape(mark)}(?P<part>[0-9]*))?\s*
             (?P<after>[-+−])?\s* (?P<side>CR|DR|Cr|Dr)?\.?\s* {_CURRENCY}?\s* (?P<close>\))?""",
        re.VERBOSE,
    )


_PATTERNS: dict[DecimalMark, re.Pattern[str]] = {".": _pattern("."), ",": _pattern(",")}


@lru_cache(maxsize=200_000)
def read_amount(text: str, mark: DecimalMark, *, reversed_: bool = False) -> str | None:
    """The amount as the account sees it, as the contract wants it (`-1234.50`); None where it is no amount.

    `reversed_`: the file's plain numbers are money out. CR and DR say themselves which side they are on.
    """
    squeezed = " ".join(text.split())  # runs of spaces could be matched in very many ways
    found = _PATTERNS[mark].fullmatch(squeezed) if len(squeezed) <= _LONGEST else None
    if found is None or not (found["whole"] or found["part"]):
        return None
    marks = [each for each in (found["before"], found["between"], found["after"]) if each]
    bracketed = found["open"] is not None
    if bracketed != (found["close"] is not None) or len(marks) + bracketed + (found["side"] is not None) > 1:
        return None
    by_sign = (bracketed or marks in (["-"], ["−"])) != reversed_
    negative = found["side"].upper() == "DR" if found["side"] else by_sign
    return plain(re.sub(r"[^0-9]", "", found["whole"] or "0"), found["part"] or "", negative=negative)


def plain(whole: str, part: str, *, negative: bool) -> str | None:
    """Digits as a decimal with two to four decimals; None where the contract has no room for them."""
    whole, part = whole.lstrip("0") or "0", part.rstrip("0").ljust(2, "0")
    if len(whole) > _MOST_DIGITS or len(part) > _MOST_DECIMALS:
        return None
    is_zero = whole == "0" and part == "00"
    return f"{'-' if negative and not is_zero else ''}{whole}.{part}"


def negated(amount: str) -> str:
    """The other sign of an amount that `read_amount` answered."""
    if amount.startswith("-"):
        return amount[1:]
    return amount if amount.strip("0.") == "" else f"-{amount}"


def without_sign(amount: str) -> str:
    """How much it is."""
    return amount.removeprefix("-")


def decimal_mark_of(texts: Iterable[str]) -> DecimalMark | None:
    """The mark that most of these amounts have before one or two last digits; None where none has."""
    counted = Counter(found[1] for text in texts if (found := _ENDS_IN_DECIMALS.search(text)))
    if not counted:
        return None
    return "," if counted[","] > counted["."] else "."


def may_be_thousands(text: str) -> bool:
    """Whether it ends like `1.200`, which is another amount under each of the two decimal marks."""
    return _ENDS_IN_THREE_DIGITS.search(text) is not None


def looks_like_an_amount(text: str) -> bool:
    """Whether it can be read with one of the two decimal marks."""
    return read_amount(text, ".") is not None or read_amount(text, ",") is not None
