"""What the environment may say to the gateway."""

import pytest

from tocsin_gateway.settings import GatewaySettings
from tocsin_kit.settings import load


@pytest.fixture(autouse=True)
def _required(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no default."""
    monkeypatch.setenv("TOCSIN_ENV", "dev")
    monkeypatch.setenv("DATABASE_URL", "postgresql://tocsin@localhost/tocsin_gateway")
    monkeypatch.setenv("TOCSIN_INTERNAL_KEY", "k" * 32)


def test_metrics_are_read_where_the_services_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(load(GatewaySettings).metrics_sources) == ["scheduler", "evaluator", "dispatcher"]
    monkeypatch.setenv(
        "TOCSIN_METRICS_SOURCES", "evaluator=http://one:9102/metrics?a=b, dispatcher=https://two/metrics"
    )
    assert load(GatewaySettings).metrics_sources == {
        "evaluator": "http://one:9102/metrics?a=b",
        "dispatcher": "https://two/metrics",
    }


def test_origins_are_named_by_comma(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(GatewaySettings).cors_origins == ()
    monkeypatch.setenv("TOCSIN_CORS_ORIGINS", "https://bank.example, https://app.bank.example,")
    assert load(GatewaySettings).cors_origins == ("https://bank.example", "https://app.bank.example")


@pytest.mark.parametrize(
    "sources", ["evaluator", "evaluator=", "=http://one", "evaluator=one:9102", "evaluator=ftp://one"]
)
@pytest.mark.parametrize("keys", ["no key", "AAAA", "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE,"])
def test_what_is_no_source_and_what_is_no_key_are_refused_together_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sources: str, keys: str
) -> None:
    monkeypatch.setenv("TOCSIN_METRICS_SOURCES", sources)
    monkeypatch.setenv("SENDGRID_WEBHOOK_PUBLIC_KEY", keys)
    with pytest.raises(SystemExit):
        load(GatewaySettings)
    told = [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()]
    assert told == ["SENDGRID_WEBHOOK_PUBLIC_KEY", "TOCSIN_METRICS_SOURCES"]
