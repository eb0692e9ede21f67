"""Weights of text messages, addresses, links."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin_dispatcher.addresses import address_hash
from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.text import fitted, is_gsm7, plain, segments
from tocsin_dispatcher.unsubscribe import UnsubscribeLinks, kind_switch
from tocsin_dispatcher.values import AlertKind, Channel, KindSwitch, ManyKinds, TemplateKind

LINKS = UnsubscribeLinks({"2": b"new", "1": b"old"}, "https://bank.example")
SWITCH = KindSwitch(1, 42, AlertKind.GOAL, Channel.EMAIL)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),  # an extension character takes two
        ("€" * 81, 2),
        ("a" * 152 + "€" + "a" * 152, 3),  # it is not split over two segments
        ("я" * 70, 1),
        ("я" * 71, 2),
        ("😀" * 35, 1),  # two UTF-16 units each
        ("😀" * 36, 2),
        ("😀" * 67, 3),  # 33 in a segment of 67 units
    ],
)
def test_segments(text: str, count: int) -> None:
    assert segments(text) == count


def test_look_alikes_do_not_make_a_message_ucs2() -> None:
    assert plain("\u201cRent\u201d \u2013 it\u2019s due\u2026\u00a0now") == '"Rent" - it\'s due... now'
    assert is_gsm7(plain("\u201cRent\u201d \u2013 it\u2019s due\u2026"))


def test_a_long_message_is_cut_at_a_word() -> None:
    cut = fitted("word " * 60, 1)
    assert cut.endswith("word...")
    assert segments(cut) == 1
    assert len(cut) > 150


def test_a_long_word_is_cut_anywhere() -> None:
    assert fitted("a" * 500, 1) == "a" * 157 + "..."


def test_a_partner_may_allow_three_segments() -> None:
    text = "word " * 80
    assert fitted(text, 3) == text.strip()


@given(st.text(max_size=700), st.integers(1, 3))
def test_whatever_is_said_fits(text: str, at_most: int) -> None:
    assert segments(fitted(text, at_most)) <= at_most


@given(st.text(max_size=700))
def test_no_control_character_is_left(text: str) -> None:
    assert all(mark == "\n" or not (ord(mark) < 32 or 127 <= ord(mark) < 160) for mark in plain(text))


def test_an_address_is_the_same_in_any_case_and_another_for_another_partner() -> None:
    one = address_hash(b"k", 1, Channel.EMAIL, "Ann@Example.com ")
    assert one == address_hash(b"k", 1, Channel.EMAIL, "ann@example.com")
    assert one != address_hash(b"k", 2, Channel.EMAIL, "ann@example.com")
    assert one != address_hash(b"other", 1, Channel.EMAIL, "ann@example.com")


@pytest.mark.parametrize("kind", [AlertKind.GOAL, *ManyKinds])
def test_a_link_says_what_it_switches_off(kind: AlertKind | ManyKinds) -> None:
    switch = KindSwitch(1, 42, kind, Channel.EMAIL)
    assert LINKS.read(LINKS.token(switch)) == switch
    assert LINKS.url(switch).startswith("https://bank.example/u/")


def test_a_digest_s_link_stops_alerts_and_a_code_s_whatever_comes() -> None:
    user = UserKey(1, 42)
    assert kind_switch(user, TemplateKind.GOAL, Channel.EMAIL).kind is AlertKind.GOAL
    assert kind_switch(user, TemplateKind.DIGEST, Channel.EMAIL).kind is ManyKinds.ALERTS
    assert kind_switch(user, TemplateKind.VERIFICATION, Channel.EMAIL).kind is ManyKinds.ALL


def test_links_of_an_older_key_still_work() -> None:
    assert LINKS.read(UnsubscribeLinks({"1": b"old"}, "").token(SWITCH)) == SWITCH


def test_links_by_a_stranger_do_not() -> None:
    assert LINKS.read(UnsubscribeLinks({"2": b"guessed"}, "").token(SWITCH)) is None


@given(st.text(max_size=200))
def test_no_text_is_taken_for_a_link(token: str) -> None:
    assert LINKS.read(token) is None
