"""What the environment may say to the dispatcher."""

import pytest

from tocsin_dispatcher.settings import DispatcherSettings
from tocsin_kit.settings import load


@pytest.fixture(autouse=True)
def _required(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no default."""
    monkeypatch.setenv("TOCSIN_ENV", "dev")
    monkeypatch.setenv("DATABASE_URL", "postgresql://tocsin@localhost/tocsin_dispatcher")
    monkeypatch.setenv("TOCSIN_INTERNAL_KEY", "k" * 32)


@pytest.mark.parametrize(("lease", "call"), [(None, "55.1"), ("14", None), ("10", "9")])
def test_a_lease_that_a_call_may_outlast_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lease: str | None, call: str | None
) -> None:
    if lease is not None:
        monkeypatch.setenv("TOCSIN_LEASE_SECONDS", lease)
    if call is not None:
        monkeypatch.setenv("TOCSIN_PROVIDER_SECONDS", call)
    with pytest.raises(SystemExit):
        load(DispatcherSettings)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("TOCSIN_LEASE_SECONDS: ")


def test_a_lease_that_outlasts_a_call_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_LEASE_SECONDS", "15")
    assert load(DispatcherSettings).lease_seconds == 15


def test_a_pace_is_set_for_each_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(DispatcherSettings).provider_paces == {}
    monkeypatch.setenv("TOCSIN_PROVIDER_PACES", '{"twilio": 60, "sendgrid": 6000}')
    assert load(DispatcherSettings).provider_paces == {"twilio": 60, "sendgrid": 6000}


@pytest.mark.parametrize("wrong", ['{"twilio": 0}', '{"pigeons": 60}', '{"twilio": "fast"}'])
def test_a_pace_that_is_none_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    monkeypatch.setenv("TOCSIN_PROVIDER_PACES", wrong)
    with pytest.raises(SystemExit):
        load(DispatcherSettings)
    assert capsys.readouterr().err.startswith("TOCSIN_PROVIDER_PACES: ")
