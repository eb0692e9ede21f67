"""What the environment may say: every wrong setting is named, all at once, and production has no known secrets."""

from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from tocsin_kit.settings import Listed, Paired, ServiceSettings, described, load

DEV = {"TOCSIN_ENV": "dev", "DATABASE_URL": "postgresql://role@host/name", "TOCSIN_INTERNAL_KEY": "k" * 32}
PRODUCTION = {**DEV, "TOCSIN_ENV": "production", "TOCSIN_JWKS": "keys.json", "TOCSIN_LOG_HASH_KEY": "nobody knows"}


Colour = Literal["red", "green", "blue"]


class Painter(ServiceSettings):
    """A service with a list and a mapping."""

    colours: Annotated[tuple[Colour, ...], Listed] = Field(
        ("red", "green"), min_length=1, validation_alias="TOCSIN_COLOURS"
    )
    litres: Annotated[dict[Colour, Annotated[int, Field(ge=1)]], Paired] = Field({}, validation_alias="TOCSIN_LITRES")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing yet."""
    unsaid = ("TOCSIN_COLOURS", "TOCSIN_LITRES")
    for name in (*PRODUCTION, *unsaid, "TOCSIN_JWT_SECRET", "LOG_LEVEL", "DATABASE_POOL_MIN", "DATABASE_POOL_MAX"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("environment", [DEV, PRODUCTION])
def test_what_is_needed_is_enough(said: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        said.setenv(name, value)
    assert load(ServiceSettings).env == environment["TOCSIN_ENV"]


@pytest.mark.parametrize(
    ("base", "wrong"),
    [
        (DEV, {"LOG_LEVEL": "loud"}),
        (DEV, {"TOCSIN_ENV": "test"}),
        (DEV, {"DATABASE_URL": "nowhere"}),
        (DEV, {"DATABASE_URL": "mysql://role@host/name"}),
        (DEV, {"DATABASE_POOL_MIN": "50", "DATABASE_POOL_MAX": "2"}),
        (DEV, {"TOCSIN_INTERNAL_KEY": "short", "LOG_LEVEL": "loud", "DATABASE_URL": "nowhere"}),
        (PRODUCTION, {"TOCSIN_JWT_SECRET": "a key for laptops"}),
        (PRODUCTION, {"TOCSIN_JWKS": ""}),
        (PRODUCTION, {"TOCSIN_LOG_HASH_KEY": "tocsin"}),
        (PRODUCTION, {"TOCSIN_LOG_HASH_KEY": "", "TOCSIN_JWKS": "", "TOCSIN_JWT_SECRET": "a key for laptops"}),
    ],
)
def test_wrong_settings_are_all_named_and_no_secret_is_shown(
    said: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], base: dict[str, str], wrong: dict[str, str]
) -> None:
    for name, value in {**base, **wrong}.items():
        said.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        load(ServiceSettings)
    told = capsys.readouterr().err
    assert ended.value.code == 2
    named = {line.partition(":")[0] for line in told.splitlines()}
    assert named == wrong.keys() - {"DATABASE_POOL_MIN"}, told
    assert "a key for laptops" not in told


def painter(said: pytest.MonkeyPatch, **environment: str) -> Painter:
    """Its settings."""
    for name, value in {**DEV, **environment}.items():
        said.setenv(name, value)
    return load(Painter)


@pytest.mark.parametrize(
    ("typed", "colours"),
    [
        ("blue", ("blue",)),
        ("blue,red", ("blue", "red")),
        (" blue , red ,", ("blue", "red")),
        ("", ("red", "green")),  # as if it were not there
    ],
)
def test_a_list_is_typed_with_commas(said: pytest.MonkeyPatch, typed: str, colours: tuple[str, ...]) -> None:
    assert painter(said, TOCSIN_COLOURS=typed).colours == colours


@pytest.mark.parametrize(
    ("typed", "litres"),
    [
        ("red=600", {"red": 600}),
        ("red=600,blue=60", {"red": 600, "blue": 60}),
        (" red = 600 , blue=60,", {"red": 600, "blue": 60}),
        ("", {}),
    ],
)
def test_pairs_are_typed_with_commas(said: pytest.MonkeyPatch, typed: str, litres: dict[str, int]) -> None:
    assert painter(said, TOCSIN_LITRES=typed).litres == litres


@pytest.mark.parametrize("colours", ["red,pink", "pink,black", ",", '["red"]', "[", "{", "red;green"])
@pytest.mark.parametrize(
    "litres", ["red", "=5", "red=", "red=0", "red=much", "pink=5", "red=1,red=2", "red=1=2", '{"red": 5}', "[", "{"]
)
def test_a_wrong_list_and_wrong_pairs_are_named_together_with_all_else_that_is_wrong(
    said: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], colours: str, litres: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        painter(said, TOCSIN_COLOURS=colours, TOCSIN_LITRES=litres, LOG_LEVEL="loud", DATABASE_URL="nowhere")
    assert ended.value.code == 2
    told = capsys.readouterr().err
    lines = [line.partition(":")[0] for line in told.splitlines()]
    assert sorted(lines) == ["DATABASE_URL", "LOG_LEVEL", "TOCSIN_COLOURS", "TOCSIN_LITRES"], told


def test_lists_and_pairs_are_shown_as_they_are_typed(said: pytest.MonkeyPatch) -> None:
    lines = {line.variable: line for line in described(Painter, painter(said, TOCSIN_LITRES="red=600,blue=60"))}
    colours, litres = lines["TOCSIN_COLOURS"], lines["TOCSIN_LITRES"]
    assert (colours.value, colours.default, colours.is_default) == ("red,green", "red,green", True)
    assert (litres.value, litres.default, litres.is_default) == ("red=600,blue=60", "", False)


_WORD = st.text(st.characters(exclude_characters=",=", exclude_categories=["Z", "C"]), min_size=1)


class Speaker(ServiceSettings):
    """A service whose list and mapping hold anything."""

    words: Annotated[tuple[str, ...], Listed] = ()
    named: Annotated[dict[str, str], Paired] = Field({})


@given(st.lists(_WORD), st.dictionaries(_WORD, _WORD))
def test_what_is_shown_can_be_typed_again(words: list[str], named: dict[str, str]) -> None:
    given = {**DEV, "words": words, "named": named}
    shown = {line.variable: line.value for line in described(Speaker, Speaker.model_validate(given))}
    again = Speaker.model_validate({**DEV, "words": shown["WORDS"], "named": shown["NAMED"]})
    assert (again.words, again.named) == (tuple(words), named)
