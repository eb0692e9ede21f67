"""Which addresses may be called for somebody else: a webhook or a push endpoint must not lead into our own network.

The check is made on the very address that a connection is opened to: names are resolved once, every answer is looked
at, and the socket is made for one of them, so that neither a second DNS answer nor an odd spelling of a host
(`2130706433`, `0x7f.1`) leads elsewhere. Redirects are not followed at all.

Sources: IANA's IPv4 and IPv6 special-purpose address registries (RFC 6890 and its updates), RFC 6598 (shared address
space), RFC 4291 2.5.5.2 (IPv4-mapped), RFC 6052 (NAT64), RFC 3056 (6to4), RFC 4380 (Teredo).
"""

import asyncio
import socket
from collections.abc import Collection
from concurrent.futures import Executor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

LocalAddresses = Collection[tuple[str, int]]
"""Addresses and ports of this machine that may be called all the same: simulators on a laptop."""

_REFUSED_4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers (CGNAT)
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, and the metadata services of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_GLOBAL_6 = IPv6Network("2000::/3")
"""Global unicast: loopback, link-local, site-local, unique local, multicast and the rest lie outside of it."""
_REFUSED_6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: leads to whatever IPv4 address it holds
        "3fff::/20",  # documentation
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
"""Where a network reaches IPv4 by NAT64 every name resolves to this, so what it holds is looked at."""


_Question: TypeAlias = tuple[str, int, int]
"""Host, port, family of addresses."""


class AddressRefused(OSError):
    """The address must not be called."""


def may_be_called(address: str) -> bool:
    """Whether an IP address, as a resolver or a socket writes it, is one of the public internet."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address):
        held = parsed.ipv4_mapped or (_held_by_nat64(parsed) if parsed in _NAT64 else None)
        if held is None:
            return parsed in _GLOBAL_6 and not any(parsed in network for network in _REFUSED_6)
        parsed = held
    return not any(parsed in network for network in _REFUSED_4)


def _held_by_nat64(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFFFFFF)


class AddressGuard(AbstractResolver):
    """Resolves names for an HTTP client, and makes its sockets: both refuse what must not be called.

    `executor` is where names are resolved: one of its own, so that names whose servers do not answer keep nobody
    else's from being resolved. Of its threads a name has one, however many ask for it: a thread cannot be called back.
    """

    def __init__(self, local: LocalAddresses, executor: Executor) -> None:
        self._local, self._executor = frozenset(local), executor
        self._asked: dict[_Question, asyncio.Future[list[ResolveResult]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises AddressRefused where one of them must not be called, OSError for none."""
        try:
            found = await asyncio.shield(self._looked_up((host, port, family)))
        except UnicodeError:
            # A label that is empty or too long: Python refuses to ask for it.
            raise AddressRefused("what cannot be a name") from None
        for one in found:
            self._check(one["host"], port)
        return found

    def _looked_up(self, question: _Question) -> asyncio.Future[list[ResolveResult]]:
        """The answer, which whoever asked first waits for too. An answer is kept for nobody who asks later."""
        asked = self._asked.get(question)
        if asked is None:
            asked = asyncio.get_running_loop().run_in_executor(self._executor, _look_up, *question)
            self._asked[question] = asked
            asked.add_done_callback(lambda done: self._answered(question, done))
        return asked

    def _answered(self, question: _Question, done: asyncio.Future[list[ResolveResult]]) -> None:
        del self._asked[question]
        if not done.cancelled():
            done.exception()  # who asked may have given up: nobody is left to be told

    def socket(self, address: tuple[int, int, int, str, tuple[str | int | bytes, ...]]) -> socket.socket:
        """The socket of a connection to this address, as getaddrinfo writes it. Raises AddressRefused."""
        family, kind, protocol, _, (host, port, *_) = address
        self._check(str(host), int(port))
        return socket.socket(family, kind, protocol)

    async def close(self) -> None:
        """Nothing is held open."""

    def _check(self, host: str, port: int) -> None:
        if not may_be_called(host) and (host, port) not in self._local:
            raise AddressRefused("an address that must not be called")


def _look_up(host: str, port: int, family: int) -> list[ResolveResult]:
    found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [
        ResolveResult(
            hostname=host,
            host=str(address[0]),
            port=port,
            family=kind,
            proto=protocol,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, protocol, _, address in found
    ]
