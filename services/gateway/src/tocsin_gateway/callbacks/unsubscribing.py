"""The link of an e-mail that stops e-mails (RFC 8058).

POST is a callback like the others: its token is its signature, and it is stored and handed on before it is answered.
Mail programs send it by one click, without cookies and without being shown anything. GET shows a page with the choices
and changes nothing: programs that look at links on the way follow them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from tocsin_gateway.callbacks.receiving import Receiver
from tocsin_gateway.entrance.buckets import TokenBuckets
from tocsin_gateway.entrance.frame import note_route
from tocsin_gateway.entrance.problems import problem
from tocsin_kit.rpc.errors import TocsinError, not_found
from tocsin_kit.signed_tokens import SignedTokens

PATH = "/u/{token}"
LARGEST_CLICK = 4096
"""Bytes of its body, one field of a form (RFC 8058, 3.1): whoever has had an e-mail has a link that takes one."""
CLICKS_PER_SECOND, CLICKS_AT_ONCE = 0.1, 20
_PURPOSE = "tocsin unsubscribe"
_ALL = "all"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
_STYLE = """
:root{color-scheme:light dark;font:18px/1.5 system-ui,sans-serif}
body{max-width:32rem;margin:0 auto;padding:2rem 1rem}
button{font:inherit;width:100%;margin:.5rem 0;padding:.75rem 1rem;border:1px solid #8886;border-radius:.5rem}
"""
#: How a page calls what an e-mail was about: kinds of the contract, a digest's, and anything else by its name.
_KINDS: Mapping[str, str] = {
    "account_threshold": "about balances",
    "goal": "about savings goals",
    "merchant_name": "about purchases at a merchant",
    "spending_target": "about budgets",
    "transaction_limit": "about large transactions",
    "upcoming_bill": "about bills",
    "alerts": "about your alerts",
}


class UnsubscribeTokens:
    """Reads the links' tokens: claims are bank, user, what it is about, and channel, with colons between. It is about
    a kind, `alerts` (of every kind) or `all`."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._tokens = SignedTokens(keys, _PURPOSE)

    def kind(self, token: str) -> str | None:
        """The kind that the link stops, or `all`; None when it is none of our links."""
        claims = self._tokens.read(token)
        return None if claims is None else claims.split(":")[2]

    def of_all(self, token: str) -> str:
        """The token that stops every kind for the same person. The token is one of ours."""
        bank, user, _, channel = (self._tokens.read(token) or "").split(":")
        return self._tokens.made(f"{bank}:{user}:{_ALL}:{channel}")


class UnsubscribeSignature:
    """A link proves itself."""

    def __init__(self, tokens: UnsubscribeTokens) -> None:
        self._tokens = tokens

    def is_valid(self, _headers: Mapping[str, str], url: str, _body: bytes) -> bool:
        """Whether the path ends with a token of ours."""
        return self._tokens.kind(_token(url.partition("?")[0])) is not None


class Unsubscribing:
    """Serves the links. `clicks` says how often one may be posted to: what it stops is stopped by the first time."""

    def __init__(self, tokens: UnsubscribeTokens, receiver: Receiver, clicks: TokenBuckets) -> None:
        self._tokens, self._receiver, self._clicks = tokens, receiver, clicks

    async def page(self, request: Request) -> Response:
        """What can be stopped; nothing is."""
        note_route(request.scope, PATH)
        token = _token(request.url.path)
        kind = self._tokens.kind(token)
        if kind is None:
            return problem(not_found("this link"))
        return _page("Stop e-mails?", _choices(token, kind, self._tokens.of_all(token)))

    async def stop(self, request: Request) -> Response:
        """Stored, and answered so that a mail program and a person both see that it is done."""
        token = _token(request.url.path)
        kind = self._tokens.kind(token)
        try:
            if kind is not None:
                self._clicks.take(token)
        except TocsinError as error:
            note_route(request.scope, PATH)
            return problem(error)
        stored = await self._receiver(request)
        if stored.status_code != 204:
            return stored
        return _page("Done", f"<p>You will get no more e-mails {_about(kind or '')}.</p>")


def _token(path: str) -> str:
    return path.rpartition("/")[2]


def _about(kind: str) -> str:
    return "from us" if kind == _ALL else escape(_KINDS.get(kind, kind.replace("_", " ")))


def _choices(token: str, kind: str, all_: str) -> str:
    one = "" if kind == _ALL else _button(token, f"Stop e-mails {_about(kind)}")
    return one + _button(all_, "Stop all e-mails from us")


def _button(token: str, words: str) -> str:
    one_click = '<input type="hidden" name="List-Unsubscribe" value="One-Click">'
    return f'<form method="post" action="{escape(token)}">{one_click}<button>{words}</button></form>'


def _page(title: str, content: str) -> Response:
    return HTMLResponse(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="robots" content="noindex">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><main><h1>{title}</h1>{content}</main></body></html>",
        headers={"Content-Security-Policy": _POLICY},
    )
