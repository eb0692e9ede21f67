"""Secrets at rest."""

from random import Random

import pytest

from tocsin_kit.sealing import CannotOpen, NoKey, Seals

OLD, NEW = b"o" * 32, b"n" * 32


def seals(*keys: bytes) -> Seals:
    return Seals(keys, Random(0))


def test_what_is_sealed_opens_under_its_name_and_shows_nothing() -> None:
    sealed = seals(OLD).seal(b"the secret", "row 1")
    assert b"secret" not in sealed
    assert seals(OLD).open(sealed, "row 1") == b"the secret"


def test_the_same_secret_is_never_sealed_alike() -> None:
    both = seals(OLD)
    assert both.seal(b"secret", "row") != both.seal(b"secret", "row")


def test_a_secret_opens_in_no_other_row_and_by_no_other_key() -> None:
    sealed = seals(OLD).seal(b"secret", "row 1")
    for keys, name in (((OLD,), "row 2"), ((NEW,), "row 1"), ((), "row 1")):
        with pytest.raises(CannotOpen):
            seals(*keys).open(sealed, name)


def test_every_changed_byte_is_noticed() -> None:
    sealed = seals(OLD).seal(b"secret", "row")
    for place in range(len(sealed)):
        with pytest.raises(CannotOpen):
            seals(OLD).open(sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :], "row")
    with pytest.raises(CannotOpen):
        seals(OLD).open(b"", "row")


def test_after_a_change_of_keys_the_new_one_seals_and_both_open() -> None:
    before = seals(OLD).seal(b"secret", "row")
    both = seals(NEW, OLD)
    assert both.open(before, "row") == b"secret"
    assert seals(NEW).open(both.seal(b"secret", "row"), "row") == b"secret"


def test_without_a_key_nothing_is_sealed() -> None:
    assert not seals().can_seal
    with pytest.raises(NoKey):
        seals().seal(b"secret", "row")
