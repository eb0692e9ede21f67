"""What a provider wrote, made fit to be stored: in its answers, its callbacks, its ids.

PostgreSQL takes no NUL and no lone surrogate, an index no long key, a column no number beyond its type; and what people
read of an answer tells no address.
"""

import re

from tocsin_kit.telemetry.redact import redacted_text

LONGEST = 300
LONGEST_NAME = 40
"""Of what a provider calls an event."""
_LOOKED_AT = 2000
"""So much is searched for addresses: more would only cost time, and is not kept."""
_MESSAGE_ID = re.compile(r"[\w.-]{1,100}", re.ASCII)
_LARGEST = 2**63 - 1
LARGEST_ATTEMPT = 2**31 - 1


def storable(text: str) -> str:
    """The text as a column and an index take it: without NUL, encodable, at most 300 characters."""
    return _clean(text)[:LONGEST]


def shown(text: str) -> str:
    """The text as an operator may read it: `storable`, and without addresses, numbers and amounts."""
    return redacted_text(_clean(text))[:LONGEST]


def message_id(value: object) -> str | None:
    """The provider's name for a message; None for what is none: 1 to 100 letters, digits, `_`, `.` and `-`."""
    return value if isinstance(value, str) and _MESSAGE_ID.fullmatch(value) else None


def whole_number(value: object, at_most: int = _LARGEST) -> int | None:
    """The number from 0 to `at_most` that a value is or spells; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        number = int(value)
    except ValueError:
        return None
    return number if 0 <= number <= at_most else None


def _clean(text: str) -> str:
    return text[:_LOOKED_AT].replace("\0", "").encode("utf-8", "replace").decode()
