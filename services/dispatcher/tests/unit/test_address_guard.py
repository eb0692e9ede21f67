"""Which addresses are called for somebody else, and that nothing leads past the check."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider

from tocsin_dispatcher.providers.address_guard import AddressGuard, AddressRefused, may_be_called
from tocsin_dispatcher.providers.http import (
    Answer,
    Exchange,
    HttpClient,
    NotWritten,
    Request,
    http_client_for_strangers,
)
from tocsin_dispatcher.values import Attempt

from .test_providers import Handler, hang, reset, serving

REFUSED = [
    # what it is, the first and the last of its range
    ("this network", "0.0.0.0", "0.255.255.255"),  # noqa: S104 - nothing is bound
    ("private", "10.0.0.0", "10.255.255.255"),
    ("shared by carriers", "100.64.0.0", "100.127.255.255"),
    ("loopback", "127.0.0.0", "127.255.255.255"),
    ("link-local, metadata of clouds", "169.254.0.0", "169.254.255.255"),
    ("private", "172.16.0.0", "172.31.255.255"),
    ("protocol assignments", "192.0.0.0", "192.0.0.255"),
    ("documentation", "192.0.2.0", "192.0.2.255"),
    ("relays of 6to4", "192.88.99.0", "192.88.99.255"),
    ("private", "192.168.0.0", "192.168.255.255"),
    ("benchmarks", "198.18.0.0", "198.19.255.255"),
    ("documentation", "198.51.100.0", "198.51.100.255"),
    ("documentation", "203.0.113.0", "203.0.113.255"),
    ("multicast", "224.0.0.0", "239.255.255.255"),
    ("reserved, broadcast", "240.0.0.0", "255.255.255.255"),
    ("unspecified, loopback, compatible", "::", "::ffff:ffff"),
    ("mapped loopback", "::ffff:127.0.0.1", "::ffff:127.255.255.255"),
    ("mapped private", "::ffff:10.0.0.1", "::ffff:10.255.255.255"),
    ("mapped metadata", "::ffff:169.254.169.254", "::ffff:169.254.169.254"),
    ("NAT64 to private", "64:ff9b::10.0.0.0", "64:ff9b::10.255.255.255"),
    ("NAT64 to loopback", "64:ff9b::127.0.0.1", "64:ff9b::127.0.0.1"),
    ("local NAT64", "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
    ("discarded", "100::", "100::ffff:ffff:ffff:ffff"),
    ("Teredo", "2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("ORCHID", "2001:20::", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("documentation", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("6to4 of a private one", "2002:a00:1::", "2002:a00:1:ffff:ffff:ffff:ffff:ffff"),
    ("documentation", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("unique local", "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("link-local", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("link-local with a zone", "fe80::1%eth0", "fe80::1%1"),
    ("site-local", "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("multicast", "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
]


@pytest.mark.parametrize(("what", "first", "last"), REFUSED)
def test_no_address_of_a_special_range_is_called(what: str, first: str, last: str) -> None:
    assert not may_be_called(first), what
    assert not may_be_called(last), what


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "1.0.0.1",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.1",
        "223.255.255.255",
        "2606:4700::1111",
        "2a00:1450:4001::200e",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
    ],
)
def test_addresses_of_the_public_internet_are_called(address: str) -> None:
    assert may_be_called(address)


@pytest.mark.parametrize("word", ["", "localhost", "2130706433", "0x7f.1", "127.1", "0177.0.0.1", "1.2.3", "::1::"])
def test_what_is_no_address_is_none_to_call(word: str) -> None:
    assert not may_be_called(word)


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_is_called_that_python_knows_as_special(address: IPv4Address) -> None:
    if may_be_called(str(address)):
        assert address.is_global
        assert not address.is_multicast


@given(st.ip_addresses(v=6) | st.integers(0, 2**32 - 1).map(lambda low: ip_address(f"::ffff:{IPv4Address(low)}")))
def test_no_ipv6_address_is_called_that_python_knows_as_special(address: IPv6Address) -> None:
    if may_be_called(str(address)):
        held = getattr(address, "ipv4_mapped", None) or address
        assert held.is_global
        assert not any((held.is_multicast, held.is_loopback, held.is_private))


@asynccontextmanager
async def calling(*local: tuple[str, int], limit: float = 5) -> AsyncIterator[HttpClient]:
    """A client for strangers' URLs; `local` may be called on this machine."""
    tracer = TracerProvider().get_tracer("test")
    async with http_client_for_strangers(timedelta(seconds=limit), tracer, local) as http:
        yield http


async def asked(http: HttpClient, url: str, attempt: Attempt) -> Exchange:
    return await http.ask(Request("POST", url, {}, b"{}"), attempt)


REFUSAL = NotWritten("AddressRefused", refused=True)


class Resolving:
    """In the place of the system's resolver: answers what the test says, one answer after the other."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), 0

    def __call__(self, host: str, port: int, **_: object) -> list[Any]:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in answer
        ]


@pytest.fixture
def resolving(monkeypatch: pytest.MonkeyPatch) -> Resolving:
    """Names lead where the test says."""
    resolver = Resolving([])
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    return resolver


@pytest.mark.parametrize(
    "answer",
    [
        ["127.0.0.1"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:10.0.0.1"],
        ["192.168.1.1"],
        ["8.8.8.8", "10.0.0.1"],
        ["fd00::1"],
    ],
)
async def test_a_name_that_leads_to_a_private_address_is_refused(
    attempt: Attempt, resolving: Resolving, answer: list[str]
) -> None:
    resolving.answers = [answer]
    async with calling() as http:
        assert await asked(http, "https://hook.example/1", attempt) == REFUSAL


async def test_a_name_of_which_one_address_is_private_is_not_called_at_the_others_either(resolving: Resolving) -> None:
    resolving.answers = [["8.8.8.8", "10.0.0.1"]]
    with ThreadPoolExecutor(1) as executor, pytest.raises(AddressRefused):
        await AddressGuard([], executor).resolve("hook.example", 443)


async def test_a_name_that_changes_between_check_and_connection_leads_nowhere_else(
    attempt: Attempt, resolving: Resolving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer is public, each later one is our own machine; what is connected to is the first."""
    resolving.answers = [["203.0.114.7"], ["127.0.0.1"]]
    connected: list[object] = []

    async def connect(_loop: object, _sock: object, address: object) -> None:
        connected.append(address)
        raise ConnectionRefusedError

    async with calling() as http:
        monkeypatch.setattr(type(asyncio.get_running_loop()), "sock_connect", connect)
        assert await asked(http, "https://hook.example/1", attempt) == NotWritten("ClientConnectorError")
        assert (connected, resolving.asked) == ([("203.0.114.7", 443)], 1)
        assert await asked(http, "https://hook.example/1", attempt) == REFUSAL, "asked anew, and refused"
    assert connected == [("203.0.114.7", 443)]


INSIDE = [
    "127.0.0.1",
    "169.254.169.254",
    "::1",
    "::ffff:10.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "fd00::1",
]
"""Where a webhook must never lead, however it is led there."""


@pytest.mark.parametrize("inside", INSIDE)
async def test_a_name_that_comes_to_lead_inside_is_refused_whenever_it_is_asked(
    attempt: Attempt, resolving: Resolving, monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    """At the first call it is public and nobody answers there; by the second it leads inside, and nothing is tried."""
    resolving.answers = [["203.0.114.7"], [inside]]
    tried: list[object] = []

    async def connect(_loop: object, _sock: object, address: object) -> None:
        tried.append(address)
        raise ConnectionRefusedError

    async with calling() as http:
        monkeypatch.setattr(type(asyncio.get_running_loop()), "sock_connect", connect)
        assert await asked(http, "https://hook.example/1", attempt) == NotWritten("ClientConnectorError")
        assert await asked(http, "https://hook.example/1", attempt) == REFUSAL
    assert tried == [("203.0.114.7", 443)]


@pytest.mark.parametrize("inside", INSIDE)
async def test_a_redirect_that_leads_inside_is_an_answer_like_another(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    """Nothing is connected to but the endpoint itself."""
    tried: list[object] = []
    connect = asyncio.SelectorEventLoop.sock_connect

    async def noted(loop: Any, sock: Any, address: Any) -> None:
        tried.append(address)
        await connect(loop, sock, address)

    async def elsewhere(_request: web.Request) -> web.Response:
        host = f"[{inside}]" if ":" in inside else inside
        return web.Response(status=307, headers={"Location": f"http://{host}/latest/meta-data/"})

    async with allowed(elsewhere) as (url, http):
        monkeypatch.setattr(type(asyncio.get_running_loop()), "sock_connect", noted)
        exchange = await asked(http, url, attempt)
    assert isinstance(exchange, Answer)
    assert exchange.status == 307
    assert tried == [("127.0.0.1", int(url.rpartition(":")[2]))]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.1",
        "127.1",
        "0",
        "127.0.0.1.",
        "localhost.",
        "LOCALHOST",
        "①②⑦.0.0.1",
    ],
)
async def test_however_our_own_machine_is_spelt_it_is_not_called(attempt: Attempt, host: str) -> None:
    """Nothing is connected to: the server that listens there sees nobody."""
    came: list[web.Request] = []

    async def note(request: web.Request) -> web.Response:
        came.append(request)
        return web.Response()

    async with serving(note) as url, calling() as http:
        exchange = await asked(http, f"http://{host}:{url.rpartition(':')[2]}/hook", attempt)
    assert isinstance(exchange, NotWritten), exchange
    assert came == []


async def test_a_socket_is_made_for_no_refused_address() -> None:
    """Should a resolver be passed by, the socket's maker still looks."""
    with ThreadPoolExecutor(1) as executor:
        guard = AddressGuard([("127.0.0.1", 80)], executor)
        for address in (("10.0.0.1", 80), ("127.0.0.1", 81), ("::1", 80, 0, 0)):
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            with pytest.raises(AddressRefused):
                guard.socket((family, socket.SOCK_STREAM, 6, "", address))
        guard.socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))).close()


@asynccontextmanager
async def allowed(handler: Handler, limit: float = 5) -> AsyncIterator[tuple[str, HttpClient]]:
    """A server of this machine, and a client that may call it."""
    async with serving(handler) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        async with calling((host, int(port)), limit=limit) as http:
            yield url, http


async def test_a_redirect_is_not_followed(attempt: Attempt) -> None:
    paths: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=308, headers={"Location": "/elsewhere"})

    async with allowed(elsewhere) as (url, http):
        exchange = await asked(http, f"{url}/hook", attempt)
    assert isinstance(exchange, Answer)
    assert (exchange.status, paths) == (308, ["/hook"])


async def test_an_answer_is_read_to_4_kilobytes_and_not_unpacked(attempt: Attempt) -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Encoding": "gzip"})
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 1000)
        except ConnectionError:
            return response

    async with allowed(flood) as (url, http):
        exchange = await asked(http, url, attempt)
    assert isinstance(exchange, Answer)
    assert exchange.body == b"x" * 4096


@pytest.mark.parametrize("handler", [hang, reset])
async def test_silence_is_told_from_what_never_left(attempt: Attempt, handler: Handler) -> None:
    async with allowed(handler, limit=0.2) as (url, http):
        assert not isinstance(await asked(http, url, attempt), Answer | NotWritten)


@pytest.mark.parametrize("host", ["hook..example", ".hook.example", f"{'a' * 64}.example"])
async def test_what_cannot_be_a_name_is_refused_and_raises_nothing(attempt: Attempt, host: str) -> None:
    """Python's codec of names raises an error that is no OSError: it once ended the lane of all webhooks."""
    async with calling() as http:
        assert await asked(http, f"https://{host}/1", attempt) == REFUSAL


async def test_a_name_whose_servers_do_not_answer_keeps_no_call_longer_than_its_limit(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: never.wait())
    async with calling(limit=0.2) as http:
        assert await asked(http, "https://hook.example/1", attempt) == NotWritten("TimeoutError")
        never.set()


async def test_a_name_whose_servers_do_not_answer_has_one_thread_however_many_ask_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One user's endpoint whose name hangs must not take the threads in which other names are resolved."""
    answers, asked = threading.Event(), []

    def look_up(host: str, port: int, **_: object) -> list[Any]:
        asked.append(host)
        if host == "hanging.example":
            answers.wait(20)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with ThreadPoolExecutor(2) as executor:
        guard = AddressGuard([], executor)
        waiting = [asyncio.create_task(guard.resolve("hanging.example", 443)) for _ in range(10)]
        try:
            (found,) = await asyncio.wait_for(guard.resolve("healthy.example", 443), 5)
            assert found["host"] == "8.8.8.8"
        finally:
            answers.set()
        assert {found[0]["host"] for found in await asyncio.gather(*waiting)} == {"8.8.8.8"}
        assert sorted(asked) == ["hanging.example", "healthy.example"]
        await guard.resolve("hanging.example", 443)
    assert len(asked) == 3, "an answer is not kept: the name may lead elsewhere by now"
