"""What the columns of a bank's CSV file mean and how the bank writes: a value to read by, and its TOML."""

from __future__ import annotations

import codecs
import json
import tomllib
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Self, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from tocsin_cli.importing.amounts import DecimalMark
from tocsin_kit.money import is_currency


class Meaning(StrEnum):
    """What a column can be."""

    DATE = "date"
    DESCRIPTION = "description"
    MERCHANT = "merchant"
    AMOUNT = "amount"
    DEBIT = "debit"
    CREDIT = "credit"
    DIRECTION = "direction"
    CURRENCY = "currency"
    BALANCE = "balance"
    CATEGORY = "category"
    ACCOUNT = "account"
    USER = "user"
    ID = "id"


class Sign(StrEnum):
    """How plain numbers of the amount column are meant."""

    ACCOUNT = "account"
    REVERSED = "reversed"


_A_DAY = datetime(2025, 11, 21, 13, 14, 15, tzinfo=UTC)
Model = TypeVar("Model", bound=BaseModel)


class MappingError(Exception):
    """A mapping makes no sense; the message says what is wrong where."""


def _names(value: object) -> object:
    """One name or several; an empty one means that there is no such column."""
    return (value,) if isinstance(value, str) else value


def _known_encoding(name: str) -> str:
    try:
        codecs.lookup(name)
    except LookupError:
        raise ValueError(f"{name} is no encoding that is known here") from None
    return name


def _known_zone(name: str) -> str:
    try:
        if name:
            ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name} is no IANA time zone such as America/Chicago") from None
    return name


def _date_format(text: str) -> str:
    others = (_A_DAY.replace(year=2024), _A_DAY.replace(month=10), _A_DAY.replace(day=20))
    try:
        datetime.strptime(_A_DAY.strftime(text), text)  # noqa: DTZ007 only whether it can be read
    except ValueError:
        raise ValueError(f"{text} is no format of strptime") from None
    if len({each.strftime(text) for each in (_A_DAY, *others)}) <= len(others):
        raise ValueError(f"{text} does not tell year, month and day, as %d/%m/%Y does")
    return text


def _known_currency(code: str) -> str:
    if not is_currency(code):
        raise ValueError(f"{code} is no ISO 4217 currency such as USD")
    return code


Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
Encoding = Annotated[str, AfterValidator(_known_encoding)]
Zone = Annotated[str, AfterValidator(_known_zone)]
DateFormat = Annotated[str, AfterValidator(_date_format)]
Currency = Annotated[str, AfterValidator(_known_currency)]
Delimiter = Annotated[str, Field(min_length=1, max_length=1)]


class Columns(BaseModel):
    """Which columns mean what, by their headings. Of several, the first that is not empty in a row counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: Names = ()
    description: Names = ()
    merchant: Names = ()
    amount: Names = ()
    debit: Names = ()
    credit: Names = ()
    direction: Names = ()
    currency: Names = ()
    balance: Names = ()
    category: Names = ()
    account: Names = ()
    user: Names = ()
    id: Names = ()

    def of(self, meaning: Meaning) -> tuple[str, ...]:
        """The headings that mean this; none where the file has no such column."""
        names: tuple[str, ...] = getattr(self, meaning)
        return tuple(name for name in names if name)

    def said(self) -> frozenset[Meaning]:
        """The meanings that are spoken of, be it to say that the file has no such column."""
        return frozenset(meaning for meaning in Meaning if getattr(self, meaning))


class Mapping(BaseModel):
    """Everything that reading a CSV file needs to know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoding: Encoding
    delimiter: Delimiter
    date_format: DateFormat
    time_zone: Zone
    decimal_mark: DecimalMark
    sign: Sign
    currency: Currency
    columns: Columns
    #: Whether a person says which column is the id: then a whole number is the id, else it may be a running number.
    id_is_said: bool

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        has = {meaning for meaning in Meaning if self.columns.of(meaning)}
        if Meaning.DATE not in has:
            raise ValueError("no column is the date")
        if not has & {Meaning.AMOUNT, Meaning.DEBIT, Meaning.CREDIT}:
            raise ValueError("no column is the amount, and none is debit or credit")
        if Meaning.AMOUNT in has and has & {Meaning.DEBIT, Meaning.CREDIT}:
            raise ValueError("either one column is the amount, or debit and credit have columns of their own")
        return self


class Hints(BaseModel):
    """What of a mapping is said, by a file or on the command line; the rest is guessed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoding: Encoding | None = None
    delimiter: Delimiter | None = None
    date_format: DateFormat | None = None
    time_zone: Zone | None = None
    decimal_mark: DecimalMark | None = None
    sign: Sign | None = None
    currency: Currency | None = None
    columns: Columns = Columns()

    def over(self, other: Hints) -> Hints:
        """These hints, and those of `other` where these say nothing."""
        columns = {**_said(other.columns), **_said(self.columns)}
        return Hints.model_validate({**_said(other), **_said(self), "columns": columns})


def _said(model: BaseModel) -> dict[str, Any]:
    return {name: value for name, value in model if value is not None and value != ()}


def read_hints(values: object) -> Hints:
    """Hints from plain values. Raises MappingError that names what is wrong."""
    return _validated(Hints, values)


def make_mapping(values: object) -> Mapping:
    """A mapping from plain values. Raises MappingError that names what is wrong."""
    return _validated(Mapping, values)


def _validated(kind: type[Model], values: object) -> Model:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"] if isinstance(step, str))
        message = first["msg"].removeprefix("Value error, ")
        raise MappingError(f"{place}: {message}" if place else message) from None


def read_toml(text: str) -> Hints:
    """The hints in a mapping file. Raises MappingError."""
    try:
        return read_hints(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise MappingError(str(error)) from None


_COMMENTS = {
    "encoding": "utf-8, utf-8-sig, utf-16, cp1252, latin-1, ...",
    "delimiter": "what parts the columns",
    "date_format": "by strptime: %d/%m/%Y, %Y-%m-%dT%H:%M:%S%z, ...",
    "time_zone": 'whose clock the times are: "America/Chicago"; empty: only the day counts',
    "decimal_mark": '"." or ","; thousands are parted by the other one, a space or an apostrophe',
    "sign": '"account": money out is negative; "reversed": it is positive, as in card exports',
    "currency": "of rows that name none",
}


def write_toml(mapping: Mapping) -> str:
    """The mapping as a file to edit."""
    lines = ["# How to read a bank's CSV file: tocsin import FILE --mapping THIS", ""]
    lines += [
        f"{name} = {_quoted(str(getattr(mapping, name)))}".ljust(32) + f" # {comment}"
        for name, comment in _COMMENTS.items()
    ]
    lines += ["", "[columns]  # by heading; of several the first that is not empty in a row; empty: there is none"]
    for meaning in Meaning:
        names = mapping.columns.of(meaning)
        value = _quoted(names[0] if names else "") if len(names) < 2 else f"[{', '.join(map(_quoted, names))}]"
        comment = "  # said here, a whole number is the id as it is; guessed, it is hashed with its account"
        lines.append(f"{meaning} = {value}{comment if names and meaning is Meaning.ID else ''}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A TOML basic string, which has JSON's escapes."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
