"""Texts as banks write them, made fit for the contract: one line, no control characters, not too long."""

from __future__ import annotations

import unicodedata

#: The contract's limits of a transaction's and an account's texts, in characters.
MERCHANT, DESCRIPTION, CATEGORY, NAME = 200, 500, 100, 200
_SHOWN = 60


def clean(text: str, most: int) -> str:
    """The text with white space squeezed, control characters taken out, and cut after `most` characters."""
    if not text.isprintable():
        text = "".join(" " if unicodedata.category(letter) in ("Cc", "Cs") else letter for letter in text)
    return " ".join(text.split())[:most].rstrip()


def short(text: str) -> str:
    """The beginning of a text, on one line, for a table or a complaint."""
    one_line = clean(text, len(text))
    return one_line if len(one_line) <= _SHOWN else one_line[: _SHOWN - 1] + "…"
