"""Keeps persons and secrets out of logs: by the key a value stands under, and by what text looks like."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

MASK = "[redacted]"

#: A key holding one of these words (between underscores, dots or dashes) hides its value.
_SECRET_WORDS = frozenset(
    {
        *("address", "email", "mail", "phone", "mobile", "recipient", "recipients", "to"),
        *("amount", "balance", "threshold", "price", "money"),
        *("token", "authorization", "secret", "password", "passwd", "cookie", "signature", "credential", "key"),
        *("body", "html", "text", "title", "content", "template", "payload", "merchant", "memo"),
    }
)
#: Keys that hold such a word and are harmless.
_HARMLESS = frozenset({"occurrence_key", "message_key", "routing_key", "idempotency_key", "address_family"})

_PATTERNS = (
    # scheme://user:password@host
    (re.compile(r"(://[^/\s:@]+:)[^@\s/]+@"), rf"\g<1>{MASK}@"),
    # JWTs and bearer tokens
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*"), MASK),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\g<1> {MASK}"),
    # SendGrid keys; Twilio's tokens are 32 hexadecimal digits (so are trace ids, which have keys of their own)
    (re.compile(r"\bSG\.[\w-]{10,}\.[\w-]{10,}"), MASK),
    # e-mail addresses
    (re.compile(r"[\w.%+'-]+@[\w-]+(?:\.[\w-]+)+"), MASK),
    # telephone numbers: E.164, and as written in North America
    (re.compile(r"(?<![\w.])\+\d[\d ().-]{6,17}\d(?!\w)"), MASK),
    (re.compile(r"(?<![\w.-])\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?![\w-])"), MASK),
    # amounts: with a currency before or after, or a decimal with two or four places that is no version or time
    (re.compile(r"[$€£¥₹]\s?-?\d[\d,.]*"), MASK),
    (re.compile(r"\b(?:USD|EUR|GBP|CAD|NPR|INR|JPY)\s?-?\d[\d,.]*\b"), MASK),
    (re.compile(r"(?<![\w.:])-?\d{1,3}(?:,\d{3})*(?:\d*)\.(?:\d{2}|\d{4})(?![\w.:]|\s?(?:s|ms|MB|%))"), MASK),
)


def is_secret(key: str) -> bool:
    """Whether a value under this key is hidden whatever it looks like."""
    lowered = key.lower()
    return lowered not in _HARMLESS and not _SECRET_WORDS.isdisjoint(re.split(r"[_.\-\s]", lowered))


def redacted_text(text: str) -> str:
    """The text with addresses, telephone numbers, amounts and tokens masked."""
    for pattern, mask in _PATTERNS:
        text = pattern.sub(mask, text)
    return text


def redacted(key: str, value: object) -> object:
    """The value as it may be logged under `key`; goes into mappings and sequences."""
    if value is None or isinstance(value, bool):
        return value
    if is_secret(key):
        return MASK
    if isinstance(value, str):
        return redacted_text(value)
    if isinstance(value, Mapping):
        return {str(name): redacted(str(name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(key, inner) for inner in value]
    if isinstance(value, Decimal | bytes):
        return MASK
    if isinstance(value, int | float | datetime):
        return value
    return redacted_text(str(value))
