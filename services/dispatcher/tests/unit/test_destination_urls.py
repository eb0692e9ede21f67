"""URLs that people give us."""

import pytest

from tocsin_dispatcher.destinations.urls import NotCallable, UrlRules, origin, service_of

RULES = UrlRules(push_services=("push.bank.example",), local=frozenset({("127.0.0.1", 8080)}))


@pytest.mark.parametrize(
    "url",
    [
        "http://hook.example/1",
        "ftp://hook.example",
        "https://",
        "https:///path",
        "//hook.example",
        "hook.example",
        "https://user@hook.example",
        "https://user:password@hook.example",
        "https://hook.example/#fragment",
        "https://hook.example:0/",
        "https://hook.example:99999/",
        "https://[::1/",
        "https://hook..example/",
        "https://.hook.example/",
        f"https://{'a' * 64}.example/",
        "http://127.0.0.1:8081/",
        "http://127.0.0.1/",
        "javascript:alert(1)",
        "",
    ],
)
def test_what_is_no_https_url_is_refused(url: str) -> None:
    with pytest.raises(NotCallable):
        RULES.checked(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://Hook.example/secret?token=1", "https://hook.example"),
        ("https://hook.example:443/1", "https://hook.example"),
        ("https://hook.example:8443/1", "https://hook.example:8443"),
        ("https://[2606:4700::1111]/1", "https://[2606:4700::1111]"),
        ("http://127.0.0.1:8080/hook", "http://127.0.0.1:8080"),
    ],
)
def test_an_origin_shows_neither_path_nor_query(url: str, shown: str) -> None:
    assert origin(RULES.checked(url)) == shown


@pytest.mark.parametrize(
    ("url", "service"),
    [
        ("https://fcm.googleapis.com/fcm/send/1", "fcm.googleapis.com"),
        ("https://FCM.googleapis.com:443/fcm/send/2", "fcm.googleapis.com"),  # the same origin, so the same breaker
        ("https://fcm.googleapis.com:8443/fcm/send/3", "fcm.googleapis.com_8443"),
        ("https://updates.push.services.mozilla.com/wpush/v2/1", "updates.push.services.mozilla.com"),
        ("https://web.push.apple.com/1", "web.push.apple.com"),
        ("https://db5p.notify.windows.com/w/?token=1", "db5p.notify.windows.com"),
        ("https://eu.push.bank.example/1", "eu.push.bank.example"),
        ("http://127.0.0.1:8080/push/1", "127.0.0.1_8080"),
    ],
)
def test_push_services_that_are_known_or_set_are_taken(url: str, service: str) -> None:
    assert service_of(RULES.checked_push(url)) == service


@pytest.mark.parametrize(
    "host", ["example.com", "notfcm.googleapis.com", "googleapis.com", "fcm.googleapis.com.evil.example"]
)
def test_no_other_push_service_is_taken(host: str) -> None:
    with pytest.raises(NotCallable):
        RULES.checked_push(f"https://{host}/1")
