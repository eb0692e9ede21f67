"""The words of all six kinds, and what each medium makes of them."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from html.parser import HTMLParser
from importlib.resources import files
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from tocsin_dispatcher.channels.email import Email, header_text
from tocsin_dispatcher.channels.sms import Sms
from tocsin_dispatcher.rendering.formats import instant, locale_named, period, relative_day
from tocsin_dispatcher.rendering.loading import environment, read_template
from tocsin_dispatcher.rendering.renderer import Renderer
from tocsin_dispatcher.rendering.variables import Reader
from tocsin_dispatcher.unsubscribe import UnsubscribeLinks
from tocsin_dispatcher.values import (
    AccountThresholdContext,
    AlertKind,
    Contact,
    FiringContext,
    MerchantNameContext,
    Notification,
    PartnerSettings,
    Preferences,
    Recipient,
    ThresholdDirection,
)
from tocsin_dispatcher.values.context_json import context_from_json, context_to_json

NOW = datetime(2025, 11, 1, 15, 0, tzinfo=UTC)
RENDERER = Renderer("https://app.example/", "First Bank")
LINKS = UnsubscribeLinks({"1": b"key"}, "https://bank.example")
EN = locale_named("en-US")
READER = Reader(EN, ZoneInfo("America/Chicago"), NOW)


def example(kind: AlertKind) -> FiringContext:
    return context_from_json(kind, json.loads(read_template(f"{kind}/example.json")))


WORDS = {
    AlertKind.ACCOUNT_THRESHOLD: (
        "Low balance: Everyday Checking",
        "Your Everyday Checking balance is below $100.00. Current balance: $84.20",
        "Everyday Checking: $84.20 (below $100.00)",
        "/accounts/12",
    ),
    AlertKind.GOAL: (
        "Goal reached: 75%",
        "Your goal 'Summer holiday' has reached 75% completion!",
        'Goal "Summer holiday" reached 75%!',
        "/goals/7",
    ),
    AlertKind.MERCHANT_NAME: (
        "Corner Coffee",
        "Transaction detected: Corner Coffee for $4.75",
        "Corner Coffee: $4.75",
        "/transactions/991",
    ),
    AlertKind.SPENDING_TARGET: (
        "Budget at 80%",
        "Your 'Groceries' budget is at 80% ($402.18 of $500.00)",
        'Budget "Groceries" at 80%',
        "/budgets/3",
    ),
    AlertKind.TRANSACTION_LIMIT: (
        "Large transaction",
        "Large transaction detected: CITY ELECTRONICS 0042 for $1,249.00 exceeds your limit of $500.00",
        "Large transaction: $1,249.00 (limit: $500.00)",
        "/transactions/992",
    ),
    AlertKind.UPCOMING_BILL: (
        "Bill due in 2 days",
        "Bill 'Rent' for $1,800.00 is due in 2 days",
        'Bill "Rent" ($1,800.00) due in 2 days',
        "/cashflow/bills/5",
    ),
}


#: title, message and text message
WORDS_WITHOUT_FIGURES = {
    AlertKind.ACCOUNT_THRESHOLD: (
        "Low balance: Everyday Checking",
        "Your Everyday Checking balance is below your threshold.",
        "Everyday Checking: balance below your threshold",
    ),
    AlertKind.GOAL: (
        "Goal milestone reached",
        "Your goal 'Summer holiday' has reached a milestone!",
        'Goal "Summer holiday": a milestone is reached!',
    ),
    AlertKind.MERCHANT_NAME: (
        "Corner Coffee",
        "Transaction detected: Corner Coffee",
        "Corner Coffee: transaction detected",
    ),
    AlertKind.SPENDING_TARGET: (
        "Budget target reached",
        "Your 'Groceries' budget has reached a target",
        'Budget "Groceries": a target is reached',
    ),
    AlertKind.TRANSACTION_LIMIT: (
        "Large transaction",
        "Large transaction detected: CITY ELECTRONICS 0042",
        "Large transaction detected",
    ),
    AlertKind.UPCOMING_BILL: (
        "Bill due in 2 days",
        "Bill 'Rent' is due in 2 days",
        'Bill "Rent" due in 2 days',
    ),
}


@pytest.mark.parametrize("kind", AlertKind)
def test_the_words_of_a_kind(kind: AlertKind) -> None:
    title, message, sms, path = WORDS[kind]
    shown = RENDERER.in_app(example(kind), READER)
    assert (shown.title, shown.message, shown.action_url) == (title, message, f"https://app.example{path}")
    assert RENDERER.sms(example(kind), READER) == sms
    email = RENDERER.email(example(kind), READER, "https://bank.example/u/x")
    assert email.subject == title
    assert message in email.text


def test_a_balance_above_its_threshold_is_called_high() -> None:
    context = example(AlertKind.ACCOUNT_THRESHOLD)
    assert isinstance(context, AccountThresholdContext)
    above = replace(context, direction=ThresholdDirection.ABOVE, balance=Decimal("-5"))
    shown = RENDERER.in_app(above, READER)
    assert shown.title == "High balance: Everyday Checking"
    assert shown.message == "Your Everyday Checking balance is above $100.00. Current balance: -$5.00"


@pytest.mark.parametrize("kind", AlertKind)
def test_amounts_can_be_hidden_in_text_messages_and_push(kind: AlertKind) -> None:
    hidden = replace(READER, hide_amounts=True)
    pushed = RENDERER.push(example(kind), hidden)
    told = (pushed.title, pushed.message, RENDERER.sms(example(kind), hidden))
    assert told == WORDS_WITHOUT_FIGURES[kind]


@pytest.mark.parametrize("kind", AlertKind)
def test_a_context_comes_back_from_its_json(kind: AlertKind) -> None:
    stored = json.loads(json.dumps(context_to_json(example(kind))))
    assert context_from_json(kind, stored) == example(kind)


def test_every_kind_ships_every_template_and_an_example() -> None:
    names = {"subject.txt", "body.html", "body.txt", "sms.txt", "push.txt", "in_app.txt", "example.json"}
    shipped = files("tocsin_dispatcher") / "templates"
    assert {kind: {one.name for one in (shipped / kind).iterdir()} for kind in AlertKind} == dict.fromkeys(
        AlertKind, names
    )


def test_money_is_written_as_the_reader_writes_it() -> None:
    german = replace(READER, locale=locale_named("de-DE"))
    context = example(AlertKind.TRANSACTION_LIMIT)
    assert "1.249,00\u00a0$" in RENDERER.in_app(context, german).message


@pytest.mark.parametrize(
    ("due_on", "words"),
    [
        (date(2025, 11, 1), "today"),
        (date(2025, 11, 2), "tomorrow"),
        (date(2025, 11, 3), "in 2 days"),  # over the night of a clock change
        (date(2025, 10, 31), "on Oct 31, 2025"),
    ],
)
def test_relative_days_are_calendar_days(due_on: date, words: str) -> None:
    assert relative_day(due_on, date(2025, 11, 1), EN) == words


def test_today_is_the_readers() -> None:
    late = replace(READER, now=datetime(2025, 11, 3, 5, 30, tzinfo=UTC))  # 23:30 on the 2nd in Chicago
    assert RENDERER.in_app(example(AlertKind.UPCOMING_BILL), late).title == "Bill due tomorrow"
    kathmandu = replace(late, zone=ZoneInfo("Asia/Kathmandu"))
    assert RENDERER.in_app(example(AlertKind.UPCOMING_BILL), kathmandu).title == "Bill due today"


@pytest.mark.parametrize(
    ("named", "words"), [("2025-10", "October 2025"), ("2025", "2025"), ("2025-10-06", "Oct 6, 2025")]
)
def test_periods_are_named(named: str, words: str) -> None:
    assert period(named, EN) == words


def test_an_instant_is_told_on_the_readers_clock() -> None:
    assert instant(NOW, ZoneInfo("Asia/Kathmandu"), EN) == "Nov 1, 2025, 8:45\u202fPM"


def test_an_unknown_variable_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        environment().from_string("{{ nobody }}").render()


class _Tags(HTMLParser):
    """Collects the tags and links of a document."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]


@given(st.text(min_size=1, max_size=80))
def test_no_merchant_can_write_html(merchant: str) -> None:
    context = example(AlertKind.MERCHANT_NAME)
    assert isinstance(context, MerchantNameContext)
    plain_one, evil = _Tags(), _Tags()
    plain_one.feed(RENDERER.email(context, READER, "https://bank.example/u/x").html)
    evil.feed(
        RENDERER.email(
            replace(context, merchant=f"<script>{merchant}</script>"), READER, "https://bank.example/u/x"
        ).html
    )
    assert evil.tags == plain_one.tags


def test_an_email_is_inlined_has_one_button_and_knows_the_dark() -> None:
    html = RENDERER.email(example(AlertKind.GOAL), READER, "https://bank.example/u/x").html
    tags = _Tags()
    tags.feed(html)
    assert tags.links == ["https://app.example/goals/7", "https://bank.example/u/x"]
    assert 'class="button" href' in html
    assert "background-color: #1a56db" in html.split("</head>")[1], "the style is inlined"
    assert "prefers-color-scheme: dark" in html
    assert "{%" not in html
    assert "{{" not in html


def recipient(contact: Contact, **partner: object) -> Recipient:
    return Recipient(contact, Preferences(), PartnerSettings(**partner))  # type: ignore[arg-type]


def test_an_email_is_composed_for_one_person(make_notification: Callable[..., Notification], contact: Contact) -> None:
    context = example(AlertKind.GOAL)
    message = Email(RENDERER, LINKS).compose(make_notification(context), recipient(contact), NOW)
    assert (message.to, message.subject) == ("ann@example.com", "Goal reached: 75%")
    switch = LINKS.read(message.unsubscribe_url.rsplit("/", 1)[-1])
    assert switch is not None
    assert (switch.user_id, switch.kind) == (1, AlertKind.GOAL)
    assert "ann@example.com" not in message.text + message.html + message.unsubscribe_url


@given(st.text(max_size=300))
def test_no_control_character_reaches_a_header(text: str) -> None:
    made = header_text(text)
    assert len(made) <= 200
    assert not any(ord(mark) < 32 or 127 <= ord(mark) < 160 or mark in "\u2028\u2029" for mark in made)


def test_a_text_message_is_cut_and_priced(make_notification: Callable[..., Notification], contact: Contact) -> None:
    context = MerchantNameContext(1, 1, "Long name " * 40, Decimal("-1"), "USD", date(2025, 11, 1), "long")
    one = Sms(RENDERER).compose(make_notification(context), recipient(contact), NOW)
    three = Sms(RENDERER).compose(make_notification(context), recipient(contact, sms_segments=3), NOW)
    assert (one.size.segments, one.size.cost) == (1, Decimal("0.0079"))
    assert (three.size.segments, three.size.cost) == (3, Decimal("0.0237"))
    assert one.text.endswith("...")
