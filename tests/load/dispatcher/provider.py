"""A bare provider of e-mail and receiver of webhooks: it answers every POST with 202 after 50 ms.

A protocol of its own instead of a web framework, so that it takes several times the calls that the dispatcher is to
make. `GET /calls?from=N` lists the calls since the Nth as [who, when]: the e-mail's address or the webhook's path, and
the reading of the machine's monotonic clock, which other processes on it share. Nothing under /hang is ever answered.
"""

import asyncio
import json
import sys
from urllib.parse import urlsplit

ANSWERS_AFTER = 0.05
MAIL = "/v3/mail/send"
HANGING = "/hang"
_END = b"\r\n\r\n"

Call = tuple[str, float]


class _Connection(asyncio.Protocol):
    """Requests of a kept connection, one after the other; bodies have a Content-Length."""

    def __init__(self, calls: list[Call]) -> None:
        self._calls, self._loop = calls, asyncio.get_running_loop()
        self._unread = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport if isinstance(transport, asyncio.Transport) else None

    def data_received(self, data: bytes) -> None:
        self._unread += data
        head, ends, rest = self._unread.partition(_END)
        length = _length(head)
        if ends and len(rest) >= length:
            self._unread = rest[length:]
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            self._take(method, target, rest[:length])

    def _take(self, method: str, target: str, body: bytes) -> None:
        if method == "GET":
            since = int(urlsplit(target).query.removeprefix("from="))
            self._answer(b"200 OK", json.dumps(self._calls[since:]).encode())
            return
        now = self._loop.time()
        self._calls.append((_addressee(body) if target == MAIL else target, now))
        if not target.startswith(HANGING):
            self._loop.call_later(ANSWERS_AFTER, self._answer, b"202 Accepted", b"", f"m{len(self._calls)}")

    def _answer(self, status: bytes, body: bytes, message_id: str = "") -> None:
        if self._transport is not None and not self._transport.is_closing():
            named = f"X-Message-Id: {message_id}\r\n" if message_id else ""
            fields = f"Content-Length: {len(body)}\r\n{named}".encode()
            self._transport.write(b"HTTP/1.1 " + status + b"\r\n" + fields + b"\r\n" + body)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _addressee(body: bytes) -> str:
    return str(json.loads(body)["personalizations"][0]["to"][0]["email"])


async def serve(port: int) -> None:
    """Serve on 127.0.0.1 until the process is ended."""
    calls: list[Call] = []
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(calls), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
