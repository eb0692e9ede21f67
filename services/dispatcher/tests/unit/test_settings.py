"""What the environment may say to the dispatcher."""

import base64

import pytest

from tocsin_dispatcher.settings import DispatcherSettings
from tocsin_kit.settings import load


@pytest.fixture(autouse=True)
def _required(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no default."""
    monkeypatch.setenv("TOCSIN_ENV", "dev")
    monkeypatch.setenv("DATABASE_URL", "postgresql://tocsin@localhost/tocsin_dispatcher")
    monkeypatch.setenv("TOCSIN_INTERNAL_KEY", "k" * 32)


def complaints(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The variables that are wrong; none of their values is told."""
    with pytest.raises(SystemExit):
        load(DispatcherSettings)
    return [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()]


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
    monkeypatch.setenv("TOCSIN_PROVIDER_PACES", "sendgrid=6000,twilio=60")
    assert load(DispatcherSettings).provider_paces == {"twilio": 60, "sendgrid": 6000}


@pytest.mark.parametrize("wrong", ["twilio=0", "pigeons=60", "twilio=fast", "twilio", '{"twilio": 60}'])
def test_a_pace_that_is_none_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    monkeypatch.setenv("TOCSIN_PROVIDER_PACES", wrong)
    assert complaints(capsys) == ["TOCSIN_PROVIDER_PACES"]


KEY = base64.urlsafe_b64encode(b"k" * 32).decode()


def test_keys_are_32_bytes_with_padding_or_without_and_the_first_one_seals(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(DispatcherSettings).secret_keys == []
    monkeypatch.setenv("TOCSIN_SECRETS_KEYS", f"{KEY.rstrip('=')}, {base64.urlsafe_b64encode(b'o' * 32).decode()}")
    assert load(DispatcherSettings).secret_keys == [b"k" * 32, b"o" * 32]


@pytest.mark.parametrize("value", ["short", f"{KEY},", "?" * 43, "k" * 44])
def test_what_is_no_key_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    monkeypatch.setenv("TOCSIN_SECRETS_KEYS", value)
    monkeypatch.setenv("TOCSIN_VAPID_KEY", value)
    assert set(complaints(capsys)) == {"TOCSIN_SECRETS_KEYS", "TOCSIN_VAPID_KEY"}


def test_a_vapid_key_is_a_number_of_the_curve(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load(DispatcherSettings).vapid_private_key is None
    monkeypatch.setenv("TOCSIN_VAPID_KEY", KEY)
    key = load(DispatcherSettings).vapid_private_key
    assert key is not None
    assert key.private_numbers().private_value == int.from_bytes(b"k" * 32, "big")
    monkeypatch.setenv("TOCSIN_VAPID_KEY", base64.urlsafe_b64encode(b"\xff" * 32).decode())
    assert complaints(capsys) == ["TOCSIN_VAPID_KEY"]


def test_addresses_of_this_machine_are_called_in_dev_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOCSIN_LOCAL_ENDPOINTS", "127.0.0.1:8080,127.0.0.2:9")
    assert load(DispatcherSettings).local_addresses == {("127.0.0.1", 8080), ("127.0.0.2", 9)}
    monkeypatch.setenv("TOCSIN_ENV", "production")
    monkeypatch.setenv("TOCSIN_JWKS", "https://bank.example/jwks")
    monkeypatch.setenv("TOCSIN_LOG_HASH_KEY", "a key")
    assert complaints(capsys) == ["TOCSIN_UNSUBSCRIBE_KEY", "TOCSIN_LOCAL_ENDPOINTS"], "one that everybody knows"
    monkeypatch.setenv("TOCSIN_UNSUBSCRIBE_KEY", "a key that nobody knows")
    assert complaints(capsys) == ["TOCSIN_LOCAL_ENDPOINTS"]


@pytest.mark.parametrize("value", ["10.0.0.1:80", "169.254.169.254:80", "localhost:80", "127.0.0.1", "0.0.0.0:80"])
def test_no_other_address_is_called_for_strangers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    monkeypatch.setenv("TOCSIN_LOCAL_ENDPOINTS", value)
    assert complaints(capsys) == ["TOCSIN_LOCAL_ENDPOINTS"]


def test_push_services_are_named_by_comma(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(DispatcherSettings).push_services == ()
    monkeypatch.setenv("TOCSIN_PUSH_SERVICES", "Push.Bank.example, other.example,")
    assert load(DispatcherSettings).push_services == ("push.bank.example", "other.example")


def test_smtp_comes_after_sendgrid_and_asks_for_tls_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(DispatcherSettings)
    assert (settings.email_chain, settings.smtp_host, settings.smtp_security) == (("sendgrid", "smtp"), "", "starttls")
    monkeypatch.setenv("TOCSIN_EMAIL_PROVIDERS", "smtp,sendgrid")
    assert load(DispatcherSettings).email_chain == ("smtp", "sendgrid")


@pytest.mark.parametrize("wrong", ["sendgrid,pigeons", "sendgrid smtp", ",", '["smtp"]', "["])
def test_a_chain_of_none_or_of_others_is_refused_by_name_with_all_else_that_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    """Mail that goes to the mailbox for want of a provider is seen by nobody."""
    monkeypatch.setenv("TOCSIN_EMAIL_PROVIDERS", wrong)
    monkeypatch.setenv("TOCSIN_SMTP_PORT", "mail")
    monkeypatch.setenv("TOCSIN_PROVIDER_PACES", "fast")
    assert complaints(capsys) == ["TOCSIN_SMTP_PORT", "TOCSIN_EMAIL_PROVIDERS", "TOCSIN_PROVIDER_PACES"]


def test_the_smtp_server_is_told_by_names_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"HOST": "mail.bank.example", "PORT": "465", "USERNAME": "tocsin", "PASSWORD": "hush"}
    for name, value in told.items():
        monkeypatch.setenv(f"TOCSIN_SMTP_{name}", value)
        monkeypatch.setenv(f"SMTP_{name}", "1")
    settings = load(DispatcherSettings)
    assert (settings.smtp_host, settings.smtp_port, settings.smtp_username) == ("mail.bank.example", 465, "tocsin")
    assert settings.smtp_password.get_secret_value() == "hush"


def test_a_password_does_not_cross_the_network_in_the_clear_but_in_dev(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"USERNAME": "tocsin", "PASSWORD": "hush", "TLS": "none"}.items():
        monkeypatch.setenv(f"TOCSIN_SMTP_{name}", value)
    assert load(DispatcherSettings).smtp_security == "none"
    monkeypatch.setenv("TOCSIN_ENV", "production")
    assert "TOCSIN_SMTP_TLS" in complaints(capsys)
