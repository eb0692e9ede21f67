"""Money, percents, days and instants as a reader of a locale writes them (CLDR, by Babel)."""

import re
import unicodedata
from datetime import date, datetime, time
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel.core import Locale, UnknownLocaleError
from babel.dates import format_date, format_skeleton, format_time
from babel.numbers import format_currency, format_decimal, format_percent

from tocsin_dispatcher.rendering.languages import language_of

_FALLBACK = Locale("en", "US")
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})


def is_known(tag: str) -> bool:
    """Whether CLDR knows the locale of a BCP 47 tag."""
    return _parsed(tag) is not None


@lru_cache(maxsize=1024)
def locale_named(tag: str) -> Locale:
    """The locale of a BCP 47 tag, also one written with underscores or with extensions (`de-AT-u-co-phonebk`), which
    are left out; US English where CLDR knows none such."""
    return _parsed(tag) or _FALLBACK


def _parsed(tag: str) -> Locale | None:
    bare = re.split(r"-[a-z0-9]-", tag.replace("_", "-"), maxsplit=1, flags=re.IGNORECASE)[0]
    try:
        return Locale.parse(bare, sep="-") if bare else None
    except (UnknownLocaleError, ValueError):
        return None


def apart(name: str) -> str:
    """A name as it can stand in any sentence: one that has right-to-left letters is isolated (UAX 9, 2.4.2), so that it
    does not turn the words and figures around it."""
    turns = not name.isascii() and any(unicodedata.bidirectional(mark) in _RIGHT_TO_LEFT for mark in name)
    return f"\u2068{name}\u2069" if turns else name


@lru_cache(maxsize=8192)
def money(amount: Decimal, currency: str, locale: Locale) -> str:
    """An amount with its currency: $1,249.00; negative ones with their sign."""
    return format_currency(amount, currency, locale=locale)


@lru_cache(maxsize=2048)
def percent(whole: int, locale: Locale) -> str:
    """A share given in whole percent: 75%."""
    return format_percent(Decimal(whole) / 100, locale=locale)


@lru_cache(maxsize=2048)
def number(whole: int, locale: Locale) -> str:
    """A count: 12,345."""
    return format_decimal(whole, locale=locale)


@lru_cache(maxsize=2048)
def day(value: date, locale: Locale) -> str:
    """A calendar day: Nov 1, 2025."""
    return format_date(value, "medium", locale=locale)


def instant(value: datetime, zone: ZoneInfo, locale: Locale) -> str:
    """An instant on the clocks of `zone`: Nov 1, 2025, 9:05 AM."""
    local = value.astimezone(zone)
    return f"{day(local.date(), locale)}, {_minute(local.hour, local.minute, locale)}"


@lru_cache(maxsize=8192)
def _minute(hour: int, minute: int, locale: Locale) -> str:
    """A time of day: 9:05 AM."""
    return format_time(time(hour, minute), "short", locale=locale)


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

    In the language of the built-in texts for the locale, to be read in their sentences. Whole calendar days: clock
    changes and the time of day do not matter.
    """
    days, language = (due_on - today).days, language_of(locale)
    match days:
        case 0:
            return language.text("today")
        case 1:
            return language.text("tomorrow")
        case _ if days > 1:
            return language.count("in %(count)s day", "in %(count)s days", days, number(days, locale))
        case _:
            return language.text("on %(day)s", day=day(due_on, locale))
