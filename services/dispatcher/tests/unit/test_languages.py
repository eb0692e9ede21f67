"""Texts, money, days, counts and plurals as readers of each locale write them."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.resources import files
from io import BytesIO
from zoneinfo import ZoneInfo

import pytest
from jinja2.ext import babel_extract

from tocsin_dispatcher.rendering.digests import MESSAGES
from tocsin_dispatcher.rendering.formats import day, instant, locale_named, money, number, percent, period, relative_day
from tocsin_dispatcher.rendering.languages import TRANSLATED, language_of
from tocsin_dispatcher.rendering.renderer import Renderer
from tocsin_dispatcher.rendering.variables import Reader
from tocsin_dispatcher.templating.examples import edges, example, reader
from tocsin_dispatcher.text import is_gsm7, plain, segments
from tocsin_dispatcher.values import AlertKind, MerchantNameContext, TemplateKind

LOCALES = ("en-US", "de-DE", "es-ES", "fr-FR", "ja-JP")
BY_EMAIL_AND_SMS = [kind for kind in TemplateKind if kind is not TemplateKind.SYSTEM]
RENDERER = Renderer("https://app.example", "First Bank")
EVENING = datetime(2025, 11, 1, 20, 5, tzinfo=UTC)
N, T = "\u00a0", "\u202f"  # CLDR's spaces: no-break, and narrow no-break

#: amount, currency, and how readers of each of LOCALES write it (Spanish banks group four digits too)
MONEY = [
    ("1249.5", "USD", ("$1,249.50", f"1.249,50{N}$", f"1.249,50{N}US$", f"1{T}249,50{N}$US", "$1,249.50")),
    ("-1249.5", "EUR", ("-€1,249.50", f"-1.249,50{N}€", f"-1.249,50{N}€", f"-1{T}249,50{N}€", "-€1,249.50")),
    ("12345.678", "EUR", ("€12,345.68", f"12.345,68{N}€", f"12.345,68{N}€", f"12{T}345,68{N}€", "€12,345.68")),
    ("1249", "JPY", ("¥1,249", f"1.249{N}¥", f"1.249{N}JPY", f"1{T}249{N}JPY", "￥1,249")),  # a currency without cents
    ("0", "USD", ("$0.00", f"0,00{N}$", f"0,00{N}US$", f"0,00{N}$US", "$0.00")),
]
DAYS = ("Nov 1, 2025", "01.11.2025", "1 nov 2025", "1 nov. 2025", "2025/11/01")
INSTANTS = (
    f"Nov 1, 2025, 9:05{T}PM",
    "01.11.2025, 21:05",
    "1 nov 2025, 21:05",
    "1 nov. 2025, 21:05",
    "2025/11/01, 21:05",
)
PERIODS = ("October 2025", "Oktober 2025", "octubre de 2025", "octobre 2025", "2025年10月")
PERCENTS = ("75%", f"75{N}%", f"75{N}%", f"75{N}%", "75%")
NUMBERS = ("12,345", "12.345", "12.345", f"12{T}345", "12,345")
#: days from today, in each language; Japanese readers are told in English
RELATIVE = [
    (0, ("today", "heute", "hoy", "aujourd'hui", "today")),
    (1, ("tomorrow", "morgen", "mañana", "demain", "tomorrow")),
    (2, ("in 2 days", "in 2 Tagen", "en 2 días", "dans 2 jours", "in 2 days")),
    (21, ("in 21 days", "in 21 Tagen", "en 21 días", "dans 21 jours", "in 21 days")),
    (-1, ("on Oct 31, 2025", "am 31.10.2025", "el 31 oct 2025", "le 31 oct. 2025", "on 2025/10/31")),
]
#: a count of large transactions, in each language: French has its singular for none, too
PLURALS = [
    (0, ("0 large transactions", "0 große Buchungen", "0 movimientos elevados", "0 opération importante")),
    (1, ("1 large transaction", "1 große Buchung", "1 movimiento elevado", "1 opération importante")),
    (2, ("2 large transactions", "2 große Buchungen", "2 movimientos elevados", "2 opérations importantes")),
]


@pytest.mark.parametrize(("amount", "currency", "written"), MONEY)
def test_money_is_written_as_its_readers_write_it(amount: str, currency: str, written: tuple[str, ...]) -> None:
    """Separators, signs and currency signs."""
    assert tuple(money(Decimal(amount), currency, locale_named(tag)) for tag in LOCALES) == written


def test_days_instants_periods_and_numbers_are_written_as_their_readers_write_them() -> None:
    """One of each."""
    locales = [locale_named(tag) for tag in LOCALES]
    assert tuple(day(date(2025, 11, 1), locale) for locale in locales) == DAYS
    assert tuple(instant(EVENING, ZoneInfo("Europe/London"), locale) for locale in locales) != INSTANTS
    assert tuple(instant(EVENING, ZoneInfo("Europe/Berlin"), locale) for locale in locales) == INSTANTS
    assert tuple(period("2025-10", locale) for locale in locales) == PERIODS
    assert tuple(percent(75, locale) for locale in locales) == PERCENTS
    assert tuple(number(12345, locale) for locale in locales) == NUMBERS


@pytest.mark.parametrize(("days", "words"), RELATIVE)
def test_a_day_is_told_by_its_distance(days: int, words: tuple[str, ...]) -> None:
    """In the language of the sentence it stands in, its figures in the reader's."""
    today = date(2025, 11, 1)
    due = date.fromordinal(today.toordinal() + days)
    assert tuple(relative_day(due, today, locale_named(tag)) for tag in LOCALES) == words


@pytest.mark.parametrize(("count", "words"), PLURALS)
def test_a_count_has_its_language_s_plural(count: int, words: tuple[str, ...]) -> None:
    """By the rule of its catalog."""
    one, many = "%(count)s large transaction", "%(count)s large transactions"
    told = (language_of(locale_named(tag)).count(one, many, count, str(count)) for tag in LOCALES[:4])
    assert tuple(told) == words


@pytest.mark.parametrize(
    ("tag", "language", "territory"),
    [
        ("de_AT", "de", "AT"),  # as many systems write it
        ("DE-at", "de", "AT"),
        ("de-AT-u-co-phonebk", "de", "AT"),  # an extension
        ("zh-Hans-CN", "zh", "CN"),
        ("tlh", "en", "US"),  # none that CLDR knows
        ("", "en", "US"),
    ],
)
def test_a_locale_is_known_however_it_is_written(tag: str, language: str, territory: str) -> None:
    """And what is none is US English."""
    locale = locale_named(tag)
    assert (locale.language, locale.territory) == (language, territory)


def said() -> Iterator[str | tuple[str, str]]:
    """Every English text of the templates and of the code that words days and digests."""
    yield from ("today", "tomorrow", "on %(day)s", ("in %(count)s day", "in %(count)s days"))
    for words in MESSAGES:
        yield words.heading
        yield words.one, words.many
    options = {"silent": "false", "trim_blocks": "true", "lstrip_blocks": "true"}
    folder = files("tocsin_dispatcher") / "templates"
    for path in (path for kind in (*folder.iterdir(), folder) if kind.is_dir() for path in kind.iterdir()):
        if path.name.endswith((".txt", ".html")):
            source = BytesIO(path.read_bytes())
            for _, _, message, _ in babel_extract(source, ["_", "gettext", "ngettext"], [], options):
                assert message is not None
                yield message if isinstance(message, str) else (str(message[0]), str(message[1]))


@pytest.mark.parametrize("tag", TRANSLATED)
def test_every_text_is_translated_with_the_same_values(tag: str) -> None:
    """Nothing is told half in English, and no value is left out or misspelt."""
    texts, catalog = set(said()), language_of(locale_named(tag)).catalog
    assert len(texts) > 60
    for text in texts:
        forms = [text] if isinstance(text, str) else list(text)
        told = [catalog.gettext(text)] if isinstance(text, str) else [catalog.ngettext(*text, n) for n in (1, 2)]
        assert text == "Budget" or told[0] != forms[0] or forms[0] in SAME.get(tag, ()), f"{tag} has no {text!r}"
        for english, translated in zip(forms, told, strict=True):
            assert values_in(translated) == values_in(english), f"{tag}: {translated!r}"


#: What is the same word there.
SAME = {"de": ("%(count)s budget", "Budgets"), "fr": ("%(count)s budget", "%(count)s transaction", "Budgets")}


def values_in(text: str) -> set[str]:
    """The values that a text names."""
    return set(re.findall(r"%\((\w+)\)s", text))


@pytest.mark.parametrize("tag", ["en-US", "de-DE", "fr-FR", "es-ES"])
@pytest.mark.parametrize("kind", BY_EMAIL_AND_SMS)
def test_every_built_in_text_message_is_one_segment(kind: TemplateKind, tag: str) -> None:
    """Of every example, in every language: in GSM-7, or short enough without."""
    for told in edges(kind):
        for hidden in (False, True):
            words = plain(RENDERER.sms(told, reader(tag, hidden)))
            if words == plain(RENDERER.sms(told, reader("en-US", hidden))) and tag != "en-US":
                assert kind is TemplateKind.MERCHANT_NAME, f"{words} is English"
            assert segments(words) == 1, f"{words} ({'GSM-7' if is_gsm7(words) else 'UCS-2'})"


@pytest.mark.parametrize("kind", BY_EMAIL_AND_SMS)
@pytest.mark.parametrize("tag", ["de-DE", "fr-FR", "es-ES"])
def test_an_email_is_told_in_the_reader_s_language(kind: TemplateKind, tag: str) -> None:
    """Its page says so, and no English sentence is left in it."""
    told = RENDERER.email(example(kind), reader(tag), "https://bank.example/u/x")
    english = RENDERER.email(example(kind), reader("en-US"), "https://bank.example/u/x")
    assert f'<html lang="{tag[:2]}"' in told.html
    same = set(told.text.splitlines()) & set(english.text.splitlines())
    assert not [line for line in same if re.search(r"[a-z] [a-z]+ [a-z]", line)], same


def test_a_japanese_reader_is_told_in_english_with_japanese_figures() -> None:
    """Until there are Japanese texts."""
    told = RENDERER.email(example(TemplateKind.UPCOMING_BILL), reader("ja-JP"), "https://bank.example/u/x")
    assert told.subject == "Bill due in 2 days"
    assert "2025/11/03" in told.text
    assert '<html lang="en"' in told.html


def test_a_right_to_left_name_turns_nothing_around_it() -> None:
    """It is isolated; any other name is told as it is."""
    context = example(TemplateKind.MERCHANT_NAME)
    assert isinstance(context, MerchantNameContext)
    to = Reader(locale_named("en-US"), ZoneInfo("UTC"), EVENING)
    shown = RENDERER.in_app(replace(context, merchant="متجر 24/7"), to)
    assert shown.message == "Transaction detected: \u2068متجر 24/7\u2069 for $4.75"
    assert "\u2068" not in RENDERER.in_app(context, to).message


def test_every_kind_of_alert_has_templates_a_bank_can_override() -> None:
    """The names are the same."""
    assert {kind.value for kind in AlertKind} < {kind.value for kind in TemplateKind}
