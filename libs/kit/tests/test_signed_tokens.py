"""Tokens of links: nobody makes one but who has the key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin_kit.signed_tokens import SignedTokens, signing_keys

OURS = SignedTokens({"2": b"the key of today", "1": b"an old key"}, "a purpose")
SPELLING = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_signed_is_read(claims: str) -> None:
    """Whatever the claims say, a colon or nothing at all."""
    token = OURS.made(claims)
    assert OURS.read(token) == claims
    assert set(token) <= set(SPELLING), "it fits in a path as it is"


def test_every_change_of_a_character_is_noticed() -> None:
    """Also of the last one, whose spare bits decoders ignore."""
    token = OURS.made("1:42:goal:email")
    for place, was in enumerate(token):
        for mark in SPELLING:
            changed = token[:place] + mark + token[place + 1 :]
            assert (OURS.read(changed) is None) == (mark != was), changed
    assert OURS.read(token + "=") is None
    assert OURS.read(token[:-1]) is None


@given(st.text())
def test_made_up_tokens_are_none_of_ours(token: str) -> None:
    """Neither bytes that are no base64 nor base64 that is no text."""
    assert OURS.read(token) is None


def test_a_token_of_another_purpose_or_key_is_none() -> None:
    """One that was made with a key of before still is one."""
    claims = "1:42:goal:email"
    assert OURS.read(SignedTokens({"1": b"an old key"}, "a purpose").made(claims)) == claims
    assert OURS.read(SignedTokens({"2": b"the key of today"}, "another").made(claims)) is None
    assert OURS.read(SignedTokens({"2": b"a stranger's"}, "a purpose").made(claims)) is None
    assert OURS.read(SignedTokens({"3": b"the key of today"}, "a purpose").made(claims)) is None


def test_a_key_is_changed_by_putting_the_new_one_first() -> None:
    old, new = "the key of last year", "the key of this year"
    before = SignedTokens(signing_keys(old), "a purpose").made("claims")
    changed = SignedTokens(signing_keys(f"{new}, {old}"), "a purpose")
    assert changed.read(before) == "claims"
    assert SignedTokens(signing_keys(new), "a purpose").read(changed.made("claims")) == "claims"
    assert SignedTokens(signing_keys(new), "a purpose").read(before) is None


@pytest.mark.parametrize("setting", ["", "too short", "long enough to be a key,", "long enough to be a key,short"])
def test_a_key_that_can_be_guessed_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match="at least 16"):
        signing_keys(setting)
