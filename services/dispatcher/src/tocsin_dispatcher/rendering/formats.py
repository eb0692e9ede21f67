"""Money, percents, days and instants as a reader of a locale writes them (CLDR, by Babel)."""

from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel.core import Locale, UnknownLocaleError
from babel.dates import format_date, format_skeleton, format_time
from babel.numbers import format_currency, format_percent

_FALLBACK = Locale("en", "US")


@lru_cache(maxsize=1024)
def locale_named(tag: str) -> Locale:
    """The locale of a BCP 47 tag; US English where CLDR knows none such."""
    try:
        return Locale.parse(tag, sep="-") if tag else _FALLBACK
    except (UnknownLocaleError, ValueError):
        return _FALLBACK


@lru_cache(maxsize=8192)
def money(amount: Decimal, currency: str, locale: Locale) -> str:
    """An amount with its currency: $1,249.00; negative ones with their sign."""
    return format_currency(amount, currency, locale=locale)


@lru_cache(maxsize=2048)
def percent(whole: int, locale: Locale) -> str:
    """A share given in whole percent: 75%."""
    return format_percent(Decimal(whole) / 100, locale=locale)


@lru_cache(maxsize=2048)
def day(value: date, locale: Locale) -> str:
    """A calendar day: Nov 1, 2025."""
    return format_date(value, "medium", locale=locale)


def instant(value: datetime, zone: ZoneInfo, locale: Locale) -> str:
    """An instant on the clocks of `zone`: Nov 1, 2025, 9:05 AM."""
    local = value.astimezone(zone)
    return f"{day(local.date(), locale)}, {format_time(local, 'short', tzinfo=zone, locale=locale)}"


def period(named: str, locale: Locale) -> str:
    """A budget's period: `2025-10` as October 2025, `2025` as it is, `2025-10-06` as that day."""
    match named.count("-"):
        case 1:
            return str(format_skeleton("yMMMM", date.fromisoformat(f"{named}-01"), locale=locale))
        case 2:
            return day(date.fromisoformat(named), locale)
        case _:
            return named


def relative_day(due_on: date, today: date, locale: Locale) -> str:
    """How far off a calendar day is: today, tomorrow, in 3 days; a day that has passed as `on` that day.

    Whole calendar days: clock changes and the time of day do not matter.
    """
    days = (due_on - today).days
    match days:
        case 0:
            return "today"
        case 1:
            return "tomorrow"
        case _:
            return f"in {days} days" if days > 1 else f"on {day(due_on, locale)}"
