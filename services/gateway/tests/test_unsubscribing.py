"""The links of e-mails that stop e-mails: one click stops, looking does not, and nobody makes one up."""

import asyncio
import base64
from collections import Counter

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from yarl import URL

from tocsin_gateway.settings import GatewaySettings
from tocsin_kit.signed_tokens import SignedTokens, signing_keys

from .conftest import Gateway, Start

KEY = "a key of unsubscribe links"
TOKENS = SignedTokens(signing_keys(KEY), "tocsin unsubscribe")
OF_GOALS, OF_ALL = TOKENS.made("1:42:goal:email"), TOKENS.made("1:42:all:email")
ONE_CLICK = b"List-Unsubscribe=One-Click"
AT_ONCE = 16


async def stored(gateway: Gateway) -> list[asyncpg.Record]:
    """The callbacks that are kept, each with its message in the outbox or handed on."""
    connection = await asyncpg.connect(gateway.database_url)
    try:
        return list(await connection.fetch("SELECT provider, url, body, handed_on_at FROM callbacks ORDER BY id"))
    finally:
        await connection.close()


async def asked(gateway: Gateway, verb: str, token: str, body: bytes | None = None) -> tuple[int, str, str]:
    """Status, text and content type of the answer."""
    url = URL(f"{gateway.url}/u/{token}", encoded=True)
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
    async with gateway.http.request(verb, url, data=body, headers=headers, allow_redirects=False) as answer:
        return answer.status, await answer.text(), answer.headers["Content-Type"]


async def test_one_click_is_stored_handed_on_and_answered_without_a_redirect(start: Start) -> None:
    """As a mail program does it: without a cookie, a token of ours, or having looked at the page."""
    async with start(TOCSIN_UNSUBSCRIBE_KEY=KEY) as gateway:
        status, page, kind = await asked(gateway, "POST", OF_GOALS, ONE_CLICK)
        assert (status, "no more e-mails about savings goals" in page) == (200, True), page
        assert kind.startswith("text/html")
        (row,) = await stored(gateway)
    assert (row["provider"], row["url"], row["body"]) == ("unsubscribe", f"/u/{OF_GOALS}", ONE_CLICK)
    assert row["handed_on_at"] is not None


async def test_looking_at_the_page_changes_nothing_and_offers_this_kind_and_all(start: Start) -> None:
    """Scanners follow every link of an e-mail."""
    async with start(TOCSIN_UNSUBSCRIBE_KEY=KEY) as gateway:
        status, page, _ = await asked(gateway, "GET", OF_GOALS)
        assert status == 200
        assert page.count('<form method="post"') == 2
        assert f'action="{OF_GOALS}"' in page
        assert f'action="{OF_ALL}"' in page
        assert "42" not in page.replace(OF_GOALS, "").replace(OF_ALL, ""), "it shows nobody's id"
        _, page, _ = await asked(gateway, "GET", OF_ALL)
        assert page.count('<form method="post"') == 1
        assert await stored(gateway) == []


async def test_a_digest_s_page_offers_to_stop_alerts_or_all(start: Start) -> None:
    of_alerts = TOKENS.made("1:42:alerts:email")
    async with start(TOCSIN_UNSUBSCRIBE_KEY=KEY) as gateway:
        _, page, _ = await asked(gateway, "GET", of_alerts)
        assert "Stop e-mails about your alerts" in page
        assert f'action="{OF_ALL}"' in page
        status, page, _ = await asked(gateway, "POST", of_alerts, ONE_CLICK)
        assert (status, "no more e-mails about your alerts" in page) == (200, True), page


async def test_a_link_that_nobody_made_is_refused(start: Start) -> None:
    """One of another purpose or with another key among them."""
    strange = [
        OF_GOALS[:-1],
        SignedTokens(signing_keys("a stranger's own key"), "tocsin unsubscribe").made("1:42:goal:email"),
        SignedTokens(signing_keys(KEY), "another purpose").made("1:42:goal:email"),
    ]
    async with start(TOCSIN_UNSUBSCRIBE_KEY=KEY) as gateway:
        for token in strange:
            assert (await asked(gateway, "GET", token))[0] == 404, token
            assert (await asked(gateway, "POST", token, ONE_CLICK))[0] == 403, token
        assert await stored(gateway) == []


async def test_a_click_is_small(start: Start) -> None:
    """Everybody has a link that is good for ever: nobody may have megabytes kept by it."""
    async with start(TOCSIN_UNSUBSCRIBE_KEY=KEY) as gateway:
        assert (await asked(gateway, "POST", OF_GOALS, b"x" * 10_000))[0] == 413
        assert await stored(gateway) == []
        form = b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n'
        assert (await asked(gateway, "POST", OF_GOALS, form))[0] == 200
        assert len(await stored(gateway)) == 1


async def test_a_link_stops_as_often_as_a_person_may_want_it_to_and_is_no_tap(start: Start) -> None:
    """Each click is a row, a message, and work for the dispatcher; another link is none the worse for it."""
    async with start(TOCSIN_UNSUBSCRIBE_KEY=KEY) as gateway:
        statuses = [(await asked(gateway, "POST", OF_GOALS, ONE_CLICK))[0] for _ in range(60)]
        assert statuses[:20] == [200] * 20
        assert set(statuses[40:]) == {429}
        assert (await asked(gateway, "POST", OF_ALL, ONE_CLICK))[0] == 200
        assert len(await stored(gateway)) == statuses.count(200) + 1


def made_up(n: int) -> list[tuple[str, bytes]]:
    """`n` tokens and bodies that hypothesis makes, the same each time; some tokens are ours, some nearly."""
    found: list[tuple[str, bytes]] = []
    text = st.text(st.characters(codec="utf-8", exclude_characters="/?#%")).map(
        lambda it: base64.urlsafe_b64encode(it.encode())
    )
    tokens = (
        st.sampled_from([OF_GOALS, OF_ALL])
        | text.map(bytes.decode)
        | st.from_regex(r"[A-Za-z0-9_.~%-]{1,60}", fullmatch=True)
    )

    @settings(
        max_examples=n, phases=[Phase.generate], derandomize=True, database=None, suppress_health_check=[*HealthCheck]
    )
    @given(tokens, st.binary(max_size=300) | st.just(ONE_CLICK))
    def make(token: str, body: bytes) -> None:
        found.append((token or "x", body))

    make()
    return found


async def test_a_thousand_made_up_clicks_give_no_500(start: Start) -> None:
    """Forged, stored or too many of one link, whatever the path and the body are."""
    calls = made_up(1000)
    assert len(calls) >= 1000
    async with start(TOCSIN_UNSUBSCRIBE_KEY=KEY) as gateway:
        limit = asyncio.Semaphore(AT_ONCE)

        async def send(token: str, body: bytes) -> int:
            async with limit:
                return (await asked(gateway, "POST", token, body))[0]

        statuses = await asyncio.gather(*(send(*call) for call in calls))
    wrong = [(call, status) for call, status in zip(calls, statuses, strict=True) if status not in (200, 403, 404, 429)]
    assert not wrong, wrong[:10]
    counted = Counter(200 if status == 429 else status for status in statuses)
    assert min(counted[200], counted[403]) > 100, f"too tame: {Counter(statuses)}"


def test_production_wants_a_key_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the one of laptops anybody would unsubscribe others."""
    told = {
        "TOCSIN_ENV": "production",
        "DATABASE_URL": "postgresql://a@b/c",
        "NATS_URL": "nats://a:1",
        "TOCSIN_JWKS": "https://bank.example/jwks",
        "TOCSIN_INTERNAL_KEY": "x" * 32,
        "TOCSIN_LOG_HASH_KEY": "a key",
    }
    for name in ("TOCSIN_UNSUBSCRIBE_KEY", *told):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValidationError, match="unsubscribe_key"):
        GatewaySettings.model_validate(told)
    assert GatewaySettings.model_validate({**told, "TOCSIN_UNSUBSCRIBE_KEY": KEY})
