"""The weight of a text message: GSM-7 or UCS-2, segments, look-alikes, and cutting at a word.

Sizes after 3GPP TS 23.038 and Twilio's own counting: GSM-7 160 alone or 153 each, extension characters take two;
UCS-2 70 alone or 67 each, in UTF-16 units. A character is never split over two segments.
"""

import unicodedata
from collections.abc import Iterable

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = frozenset("\f^{}\\[~]|€")

_LOOK_ALIKES = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u00b4`", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2007\u2009\u200a\u202f\t", " "),
        "\u2026": "...",
        "\u2022": "*",
        **dict.fromkeys("\u200b\u200c\u2060\ufeff\u00ad", None),
    }
)
_CUT = "..."


def plain(text: str) -> str:
    """The text with look-alikes of GSM-7 characters replaced, and without control characters but line feeds."""
    replaced = unicodedata.normalize("NFC", text).translate(_LOOK_ALIKES)
    return "".join(mark if mark == "\n" or unicodedata.category(mark) != "Cc" else " " for mark in replaced)


def is_gsm7(text: str) -> bool:
    """Whether every character is in the GSM-7 alphabet or its extension."""
    return all(mark in _BASIC or mark in _EXTENSION for mark in text)


def segments(text: str) -> int:
    """How many segments the text takes; at least 1."""
    if is_gsm7(text):
        return _packed((2 if mark in _EXTENSION else 1 for mark in text), alone=160, joined=153)
    return _packed((2 if ord(mark) > 0xFFFF else 1 for mark in text), alone=70, joined=67)


def _packed(widths: Iterable[int], alone: int, joined: int) -> int:
    needed = list(widths)
    if sum(needed) <= alone:
        return 1
    count, used = 1, 0
    for width in needed:
        if used + width > joined:
            count, used = count + 1, 0
        used += width
    return count


def fitted(text: str, at_most: int) -> str:
    """`plain` text in at most so many segments: whole, or cut at a word (in one long word, anywhere) with `...`."""
    message = plain(text).strip()
    if segments(message) <= at_most:
        return message
    longest = min(len(message) - 1, 160 * at_most)
    end = next(end for end in range(longest, -1, -1) if segments(message[:end].rstrip() + _CUT) <= at_most)
    return _at_word_end(message, end).rstrip(" ,;:-") + _CUT


def _at_word_end(message: str, end: int) -> str:
    kept = message[:end]
    if message[end].isspace():
        return kept
    word_end = kept.rfind(" ")
    return kept[:word_end] if word_end > 0 else kept
