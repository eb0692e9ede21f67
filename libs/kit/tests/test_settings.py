"""What the environment may say: every wrong setting is named, all at once, and production has no known secrets."""

import pytest

from tocsin_kit.settings import ServiceSettings, load

DEV = {"TOCSIN_ENV": "dev", "DATABASE_URL": "postgresql://role@host/name", "TOCSIN_INTERNAL_KEY": "k" * 32}
PRODUCTION = {**DEV, "TOCSIN_ENV": "production", "TOCSIN_JWKS": "keys.json", "TOCSIN_LOG_HASH_KEY": "nobody knows"}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing yet."""
    for name in (*PRODUCTION, "TOCSIN_JWT_SECRET", "LOG_LEVEL", "DATABASE_POOL_MIN", "DATABASE_POOL_MAX"):
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
