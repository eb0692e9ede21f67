"""What is told that is no single alert: digests, codes, and tests of browsers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from tocsin_dispatcher.rendering.digests import SHOWN_OF_A_GROUP
from tocsin_dispatcher.rendering.formats import locale_named
from tocsin_dispatcher.rendering.languages import language_of
from tocsin_dispatcher.rendering.loading import environment
from tocsin_dispatcher.rendering.renderer import Renderer
from tocsin_dispatcher.rendering.variables import Reader
from tocsin_dispatcher.templating.examples import example
from tocsin_dispatcher.text import fitted, plain, segments
from tocsin_dispatcher.values import (
    AccountThresholdContext,
    Digest,
    DigestMember,
    FiringContext,
    MerchantNameContext,
    PushTest,
    TemplateKind,
    ThresholdDirection,
    Verification,
)

NOW = datetime(2025, 11, 1, 15, 0, tzinfo=UTC)
RENDERER = Renderer("https://app.example", "First Bank")
READER = Reader(locale_named("en-US"), ZoneInfo("UTC"), NOW)
STOP = "https://bank.example/u/x"
CODE = Verification("482913", timedelta(minutes=10))


def context(kind: TemplateKind) -> FiringContext:
    """An alert's example."""
    told = example(kind)
    assert not isinstance(told, Digest | Verification | PushTest)
    return told


def digest(**counts: int) -> Digest:
    """So many of each kind, a minute apart, the first the newest."""
    kinds = [TemplateKind(kind) for kind, count in counts.items() for _ in range(count)]
    return Digest(tuple(DigestMember(context(kind), NOW - timedelta(minutes=n)) for n, kind in enumerate(kinds)))


def test_a_digest_by_text_message_counts_each_kind_in_one_segment() -> None:
    """As short as the design has it."""
    told = RENDERER.sms(digest(account_threshold=5, transaction_limit=3, upcoming_bill=1, goal=3), READER)
    assert told == "12 alerts: 5 low balance, 3 large transactions, 1 bill due, 3 goals reached"


@pytest.mark.parametrize("tag", ["en-US", "de-DE", "es-ES", "fr-FR", "ja-JP"])
def test_a_digest_of_everything_is_cut_to_one_segment(tag: str) -> None:
    """Hundreds of every kind there is."""
    low = context(TemplateKind.ACCOUNT_THRESHOLD)
    assert isinstance(low, AccountThresholdContext)
    high = DigestMember(replace(low, direction=ThresholdDirection.ABOVE), NOW)
    kinds = {kind.value: 150 for kind in TemplateKind if kind.value not in ("digest", "verification", "system")}
    told = digest(**kinds)
    words = RENDERER.sms(
        replace(told, members=(*told.members, *[high] * 150)), replace(READER, locale=locale_named(tag))
    )
    assert segments(fitted(words, 1)) == 1
    if tag == "en-US":
        assert segments(plain(words)) == 1, "nothing is cut off in English"


def test_a_digest_by_email_groups_its_alerts_with_their_links() -> None:
    """The newest first, each leading to its own page, high balances apart from low ones."""
    low = context(TemplateKind.ACCOUNT_THRESHOLD)
    assert isinstance(low, AccountThresholdContext)
    high = replace(low, direction=ThresholdDirection.ABOVE, account="Savings", account_id=13, balance=Decimal(900))
    members = (DigestMember(low, NOW), DigestMember(replace(low, account="Joint"), NOW - timedelta(hours=1)))
    told = Digest((members[1], DigestMember(high, NOW), members[0]))
    mail = RENDERER.email(told, READER, STOP)
    assert mail.subject == "3 alerts"
    assert "2 low balance, 1 high balance" in mail.text
    places = [
        mail.text.index(words) for words in ("Low balance (2)", "Everyday", "Joint", "High balance (1)", "Savings")
    ]
    assert places == sorted(places)
    assert 'href="https://app.example/accounts/13"' in mail.html
    assert 'href="https://app.example/notifications"' in mail.html
    assert STOP in mail.html
    assert STOP in mail.text


def test_a_digest_of_hundreds_stays_an_email_that_is_shown_whole() -> None:
    """Mail programs cut at about 100 KB: beyond so many of a group it counts."""
    told = digest(**dict.fromkeys(("account_threshold", "merchant_name", "upcoming_bill", "goal"), 200))
    mail = RENDERER.email(told, READER, STOP)
    assert len(mail.html.encode()) < 60_000
    assert mail.html.count("Transaction detected") == SHOWN_OF_A_GROUP
    assert f"{200 - SHOWN_OF_A_GROUP} more" in mail.text


def test_a_digest_by_push_leads_to_all_of_them() -> None:
    """Title and counts."""
    told = RENDERER.push(digest(goal=2, merchant_name=1), READER)
    assert (told.title, told.message) == ("3 alerts", "1 transaction, 2 goals reached")
    assert told.action_url == "https://app.example/notifications"


def test_no_member_of_a_digest_can_write_html() -> None:
    """Its words are escaped like any."""
    merchant = context(TemplateKind.MERCHANT_NAME)
    assert isinstance(merchant, MerchantNameContext)
    told = Digest((DigestMember(replace(merchant, merchant="<script>alert(1)</script>"), NOW),))
    assert "<script>" not in RENDERER.email(told, READER, STOP).html


def test_a_code_is_told_with_how_long_it_is_valid() -> None:
    """By e-mail without a link, which people should not learn to click."""
    mail = RENDERER.email(CODE, READER, STOP)
    assert mail.subject == "Your verification code"
    assert "Enter this code at First Bank within 10 minutes." in mail.text
    assert ">482913<" in mail.html
    assert "href" not in mail.html
    assert "http" not in mail.text
    sms = RENDERER.sms(CODE, READER)
    assert sms == "First Bank: your code is 482913, valid for 10 minutes. Tell it to nobody."
    assert "valid for 1 minute." in RENDERER.sms(replace(CODE, valid_for=timedelta(seconds=90)), READER)


def test_a_code_is_never_pushed() -> None:
    """There is no template for it: a programmer learns so at once."""
    with pytest.raises(KeyError):
        RENDERER.push(CODE, READER)


@pytest.mark.parametrize(
    ("tag", "title", "message"),
    [
        ("en-US", "A test message", "Messages from First Bank arrive here."),
        ("de-DE", "Eine Testnachricht", "Nachrichten von First Bank kommen hier an."),
        ("es-ES", "Mensaje de prueba", "Los mensajes de First Bank llegan aquí."),
        ("fr-FR", "Un message de test", "Les messages de First Bank arrivent ici."),
    ],
)
def test_a_test_of_a_browser_is_told_in_its_reader_s_language(tag: str, title: str, message: str) -> None:
    """And leads to the list of all messages; nobody gets it otherwise."""
    told = RENDERER.push(PushTest(), replace(READER, locale=locale_named(tag)))
    assert (told.title, told.message, told.action_url) == (title, message, "https://app.example/notifications")
    with pytest.raises(KeyError):
        RENDERER.sms(PushTest(), READER)


def test_no_text_ends_in_leftovers_of_its_template() -> None:
    """Plain texts have no more than one empty line in a row, and no mark of Jinja's."""
    for kind in set(TemplateKind) - {TemplateKind.SYSTEM}:
        text = RENDERER.email(example(kind), READER, STOP).text
        assert "\n\n\n" not in text, f"{kind}:\n{text}"
        assert "{" not in text
        assert text == text.strip() or text.endswith(("\n", STOP))


def test_texts_are_translated_when_a_template_is_compiled() -> None:
    """Labels and sentences, their values in the translation's own order; a plural by its count."""
    german = environment(language_of(locale_named("de-DE")))
    source = (
        "{{ _('Account') }}|{% trans %}Bill '{{ bill }}' for {{ amount }} is due {{ when }}{% endtrans %}|"
        "{% trans count=n %}{{ count }} alert{% pluralize %}{{ count }} alerts{% endtrans %}|{{ _ }}"
    )
    known = {"bill": "50%", "amount": "1 €", "when": "heute", "n": 2, "_": "kept"}
    told = german.from_string(source).render(known)
    assert told == "Konto|Die Rechnung „50%“ über 1 € ist heute fällig|2 Benachrichtigungen|kept"
