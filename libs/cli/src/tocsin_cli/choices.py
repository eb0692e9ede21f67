"""Values of the contract's enums as words: `sent` for `DELIVERY_STATUS_SENT`."""

from __future__ import annotations

import typer
from google.protobuf.descriptor import EnumDescriptor


def word(enum: EnumDescriptor, number: int) -> str:
    """The word of a value; empty for the one that means not set."""
    value = enum.values_by_number.get(number)
    return _words(enum).get(value.name, str(number)) if value is not None and number else ""


def number(enum: EnumDescriptor, text: str | None) -> int:
    """The value of a word, 0 for None. Raises typer.BadParameter that lists the words."""
    if text is None:
        return 0
    for name, known in _words(enum).items():
        if known == text.lower():
            return int(enum.values_by_name[name].number)
    listed = ", ".join(known for name, known in _words(enum).items() if enum.values_by_name[name].number)
    raise typer.BadParameter(f"{text!r} is none of {listed}")


def _words(enum: EnumDescriptor) -> dict[str, str]:
    """The word of each value by its name, without the prefix that all of them share (`JOB_STATE_`)."""
    prefix = next(value.name for value in enum.values if value.number == 0).removesuffix("UNSPECIFIED")
    return {value.name: value.name.removeprefix(prefix).lower() for value in enum.values}
