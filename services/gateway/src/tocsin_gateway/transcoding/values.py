"""Single JSON values to and from what protobuf's constructors take: scalars, enums, well-known types.

Follows the proto3 JSON mapping (https://protobuf.dev/programming-guides/json/) with the contract's two changes: an enum
value is written in lower case without its type's prefix and read in both forms, and a FieldMask's paths keep their
snake_case.
"""

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
Write: TypeAlias = Callable[[Any], Json]
Read: TypeAlias = Callable[[Json], Any]

_TWO = tuple(f"{number:02d}" for number in range(60))  # formatting a padded number costs more than all the rest
_MINUTES = tuple(f"{hour}:{minute}" for hour in _TWO[:24] for minute in _TWO)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_SPAN = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?s")
_FLOAT = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORDS_FOR_FLOATS = ("NaN", "Infinity", "-Infinity")
_WHOLE = re.compile(r"-?[0-9]{1,20}")
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # 0001-01-01 and 9999-12-31, timestamp.proto
_LONGEST_SPAN = 315_576_000_000  # seconds, duration.proto
_LARGEST_FLOAT = 3.4028234663852886e38


class InvalidValue(Exception):
    """A JSON value that a field cannot hold. `path` grows from the innermost name outwards as the readers unwind."""

    def __init__(self, description: str, *path: str) -> None:
        super().__init__(description)
        self.description = description
        self.path = list(path)

    def inside(self, name: str) -> "InvalidValue":
        """The same complaint, seen from one level further out."""
        self.path.append(name)
        return self

    @property
    def field(self) -> str:
        """Dotted path from the outermost message; list places as `name[3]`; empty for the message itself."""
        return ".".join(reversed(self.path)).replace(".[", "[")


def is_well_known(descriptor: Descriptor) -> bool:
    """Whether JSON shows this message as something other than an object of its fields."""
    return descriptor.file.package == "google.protobuf"


# --- writing -----------------------------------------------------------------------------------------------------


def writer_of(field: FieldDescriptor) -> Write | None:
    """How one value of a scalar or enum field becomes JSON; None where it is JSON already."""
    if field.enum_type is not None:
        return _enum_writer(field.enum_type)
    return _WRITERS.get(field.type)


def well_known_writer(descriptor: Descriptor) -> Write:
    """How a well-known message becomes JSON. KeyError for one the contract does not use."""
    return _WELL_KNOWN[descriptor.full_name][0]


def enum_words(enum: EnumDescriptor) -> dict[int, str]:
    """The contract's word for each number: lower case, without the enum's prefix."""
    prefix = _prefix(enum)
    return {value.number: value.name.removeprefix(prefix).lower() for value in reversed(enum.values)}


def _prefix(enum: EnumDescriptor) -> str:
    """buf's STANDARD rule: every value begins with the enum's name in UPPER_SNAKE_CASE."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", enum.name).upper() + "_"


def _enum_writer(enum: EnumDescriptor) -> Write:
    words = enum_words(enum)
    # A newer service may send a number this gateway has no name for: shown as a number, as json_format does.
    return lambda number: words.get(number, number)


def _write_float(value: float) -> Json:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _write_single(value: float) -> Json:
    # The shortest decimal that reads back as the same 32-bit number.
    return float(f"{value:.8g}") if math.isfinite(value) else _write_float(value)


def _write_bytes(value: bytes) -> Json:
    return base64.b64encode(value).decode("ascii")


def _fraction(nanos: int) -> str:
    if nanos == 0:
        return ""
    if nanos % 1_000_000 == 0:
        return f".{str(1_000 + nanos // 1_000_000)[1:]}"
    return f".{str(1_000_000 + nanos // 1000)[1:]}" if nanos % 1000 == 0 else f".{str(1_000_000_000 + nanos)[1:]}"


@lru_cache(maxsize=4096)
def _day(number: int) -> str:
    return (_EPOCH + timedelta(days=number)).isoformat()[:10]


def _write_instant(value: Any) -> Json:
    day, second = divmod(value.seconds, 86_400)
    nanos = value.nanos
    return f"{_day(day)}T{_MINUTES[second // 60]}:{_TWO[second % 60]}{_fraction(nanos) if nanos else ''}Z"


def _write_span(value: Any) -> Json:
    sign = "-" if value.seconds < 0 or value.nanos < 0 else ""
    return f"{sign}{abs(value.seconds)}{_fraction(abs(value.nanos))}s"


def _write_mask(value: Any) -> Json:
    return ",".join(value.paths)


# --- reading -----------------------------------------------------------------------------------------------------


def reader_of(field: FieldDescriptor) -> Read:
    """How one JSON value becomes what a scalar or enum field takes; raises InvalidValue."""
    if field.enum_type is not None:
        return _enum_reader(field.enum_type)
    return _READERS[field.type]


def well_known_reader(descriptor: Descriptor) -> Read:
    """How JSON becomes what a well-known message's constructor takes; raises InvalidValue."""
    return _WELL_KNOWN[descriptor.full_name][1]


def _whole_reader(lowest: int, highest: int) -> Read:
    def read(value: Json) -> int:
        number = _whole(value)
        if not lowest <= number <= highest:
            raise InvalidValue(f"must be from {lowest} to {highest}")
        return number

    return read


def _whole(value: Json) -> int:
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise InvalidValue("must be a whole number")


def _read_text(value: Json) -> str:
    if not isinstance(value, str):
        raise InvalidValue("must be a string")
    return value


def _read_flag(value: Json) -> bool:
    if value is True or value is False:
        return value
    raise InvalidValue("must be true or false")


def _read_float(value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InvalidValue("must be a number")
    if isinstance(value, str) and value not in _WORDS_FOR_FLOATS and not _FLOAT.fullmatch(value):
        raise InvalidValue("must be a number")
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise InvalidValue("must be a number") from error
    if math.isinf(number) and value not in _WORDS_FOR_FLOATS:
        raise InvalidValue("is too large")
    return number


def _read_single(value: Json) -> float:
    number = _read_float(value)
    if math.isfinite(number) and abs(number) > _LARGEST_FLOAT:
        raise InvalidValue("is too large")
    return number


def _read_bytes(value: Json) -> bytes:
    if not isinstance(value, str) or not value.isascii():
        raise InvalidValue("must be a base64 string")
    standard = value.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except binascii.Error as error:
        raise InvalidValue("must be a base64 string") from error


def _enum_reader(enum: EnumDescriptor) -> Read:
    numbers: dict[str, int] = {word: number for number, word in enum_words(enum).items()}
    numbers |= {value.name: value.number for value in enum.values}
    known = frozenset(numbers.values())
    allowed = ", ".join(word for number, word in sorted(enum_words(enum).items()) if number != 0)

    def read(value: Json) -> int:
        if isinstance(value, str) and value in numbers:
            return numbers[value]
        if isinstance(value, int) and not isinstance(value, bool) and value in known:
            return value
        raise InvalidValue(f"must be one of {allowed}")

    return read


def _nanos(digits: str | None) -> int:
    return int(digits.ljust(9, "0")) if digits else 0


def _read_instant(value: Json) -> dict[str, int]:
    match = _INSTANT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise InvalidValue("must be an instant like 2025-11-01T12:00:00Z")
    day_and_time, digits, offset = match.groups()
    try:
        since = datetime.fromisoformat(day_and_time + ("+00:00" if offset == "Z" else offset)) - _EPOCH
    except ValueError as error:
        raise InvalidValue("must be an instant like 2025-11-01T12:00:00Z") from error
    seconds = since.days * 86_400 + since.seconds
    if not _FIRST_SECOND <= seconds <= _LAST_SECOND:
        raise InvalidValue("must be within the years 1 to 9999")
    return {"seconds": seconds, "nanos": _nanos(digits)}


def _read_span(value: Json) -> dict[str, int]:
    match = _SPAN.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[2]) > _LONGEST_SPAN:
        raise InvalidValue("must be a span in seconds like 21600s or 0.5s")
    sign = -1 if match[1] else 1
    return {"seconds": sign * int(match[2]), "nanos": sign * _nanos(match[3])}


def _read_mask(value: Json) -> dict[str, list[str]]:
    if not isinstance(value, str):
        raise InvalidValue("must be field paths with commas between")
    return {"paths": [path.strip() for path in _read_text(value).split(",") if path.strip()]}


_WRITERS: dict[int, Write] = {
    FieldDescriptor.TYPE_INT64: str,
    FieldDescriptor.TYPE_UINT64: str,
    FieldDescriptor.TYPE_SINT64: str,
    FieldDescriptor.TYPE_FIXED64: str,
    FieldDescriptor.TYPE_SFIXED64: str,
    FieldDescriptor.TYPE_DOUBLE: _write_float,
    FieldDescriptor.TYPE_FLOAT: _write_single,
    FieldDescriptor.TYPE_BYTES: _write_bytes,
}

_INT32, _UINT32 = _whole_reader(-(2**31), 2**31 - 1), _whole_reader(0, 2**32 - 1)
_INT64, _UINT64 = _whole_reader(-(2**63), 2**63 - 1), _whole_reader(0, 2**64 - 1)

_READERS: dict[int, Read] = {
    FieldDescriptor.TYPE_STRING: _read_text,
    FieldDescriptor.TYPE_BOOL: _read_flag,
    FieldDescriptor.TYPE_BYTES: _read_bytes,
    FieldDescriptor.TYPE_DOUBLE: _read_float,
    FieldDescriptor.TYPE_FLOAT: _read_single,
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_SINT32: _INT32,
    FieldDescriptor.TYPE_SFIXED32: _INT32,
    FieldDescriptor.TYPE_UINT32: _UINT32,
    FieldDescriptor.TYPE_FIXED32: _UINT32,
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_SINT64: _INT64,
    FieldDescriptor.TYPE_SFIXED64: _INT64,
    FieldDescriptor.TYPE_UINT64: _UINT64,
    FieldDescriptor.TYPE_FIXED64: _UINT64,
}

_WELL_KNOWN: dict[str, tuple[Write, Read]] = {
    "google.protobuf.Timestamp": (_write_instant, _read_instant),
    "google.protobuf.Duration": (_write_span, _read_span),
    "google.protobuf.FieldMask": (_write_mask, _read_mask),
}
