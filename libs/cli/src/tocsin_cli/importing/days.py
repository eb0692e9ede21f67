"""Days and instants as banks write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from tocsin_cli.importing.rows import Wrong
from tocsin_cli.importing.texts import short

#: What is tried, by `strptime`. Those of two with the same shape are told apart by days above 12, then by evidence.
_DAYS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%Y.%m.%d"),
    *("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y"),
    *("%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%m-%y", "%m-%d-%y"),
    *("%d %b %Y", "%d-%b-%Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d-%b-%y", "%d %b %y"),
)
_TIMES = (
    " %H:%M:%S",
    " %H:%M",
    "T%H:%M:%S",
    "T%H:%M:%S%z",
    "T%H:%M:%S.%f%z",
    " %H:%M:%S%z",
    " %I:%M %p",
    " %I:%M:%S %p",
)
_FORMATS = (*_DAYS, *(day + time for day in _DAYS for time in _TIMES))
_DAY_FIRST, _MONTH_FIRST = "%d", "%m"
#: Years outside are a typing error; the services refuse them too.
_YEARS = range(1900, 9000)
_AGREEING = 0.5


@dataclass(frozen=True, slots=True)
class Moment:
    """A local day, or an instant where the file tells the time and its zone. `order` sorts both among each other."""

    day: str
    instant: datetime | None
    order: str


class DayReader:
    """Reads one column of one file. Times without a zone count only where the file's zone is known."""

    def __init__(self, date_format: str, time_zone: str = "") -> None:
        self._format = date_format
        self._zone = ZoneInfo(time_zone) if time_zone else None
        self._has_time = any(code in date_format for code in ("%H", "%I"))
        self.read = lru_cache(maxsize=50_000)(self._read)

    def _read(self, text: str) -> Moment:
        """The moment. Raises ValueError where the text is none in this format."""
        found = datetime.strptime(text, self._format)  # noqa: DTZ007 bank files have local days; a zone is put in below
        if found.year not in _YEARS:
            raise ValueError("is too far away")
        if self._zone is not None and self._has_time and found.tzinfo is None:
            found = found.replace(tzinfo=self._zone)
        return moment_at(found.astimezone(UTC)) if found.tzinfo else moment_on(found.date())


def moment_on(day: date) -> Moment:
    """A day without a time; among instants it is at noon, where the services put it too."""
    return Moment(day.isoformat(), None, f"{day.isoformat()}T12:00:00")


def moment_at(instant: datetime) -> Moment:
    """An instant, aware."""
    utc = instant.astimezone(UTC)
    return Moment(utc.date().isoformat(), utc, utc.strftime("%Y-%m-%dT%H:%M:%S.%f"))


def read_day(reader: DayReader, text: str, column: str) -> Moment:
    """The moment in a cell. Raises Wrong."""
    if not text:
        raise Wrong(column, text, "is empty")
    try:
        return reader.read(text)
    except ValueError as error:
        why = str(error) if "far away" in str(error) else "is no date of the file's format, or no day of the calendar"
        raise Wrong(column, short(text), why) from None


def fitting_formats(texts: Sequence[str]) -> list[str]:
    """The formats in which most of these texts are dates: all that read as many as the best one does."""
    counted = {each: _count(each, texts) for each in _FORMATS}
    best = max(counted.values(), default=0)
    if not texts or best < _AGREEING * len(texts):
        return []
    return [each for each, number in counted.items() if number == best]


def _count(date_format: str, texts: Sequence[str]) -> int:
    """How many of the texts are dates; 0 where already the first ones are none."""
    reader = DayReader(date_format)
    head = sum(_is_date(reader, text) for text in texts[:20])
    return head + sum(_is_date(reader, text) for text in texts[20:]) if head else 0


def _is_date(reader: DayReader, text: str) -> bool:
    try:
        reader.read(text)
    except ValueError:
        return False
    return True


def in_order(date_format: str, texts: Sequence[str]) -> bool:
    """Whether these texts, read so, go only forwards or only backwards."""
    reader = DayReader(date_format)
    days = [reader.read(text).order for text in texts if _is_date(reader, text)]
    return all(a <= b for a, b in pairwise(days)) or all(a >= b for a, b in pairwise(days))


def day_first(formats: Sequence[str]) -> str | None:
    """Of formats with the same shape, the one that begins with the day."""
    return next((each for each in formats if each.startswith(_DAY_FIRST)), None)


def month_first(formats: Sequence[str]) -> str | None:
    """Of formats with the same shape, the one that begins with the month."""
    return next((each for each in formats if each.startswith(_MONTH_FIRST)), None)
