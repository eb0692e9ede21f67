"""An ASGI app on uvicorn inside our own event loop: no signal handlers, any free port, bounded shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from datetime import timedelta

import uvicorn
from starlette.types import ASGIApp


class _Uvicorn(uvicorn.Server):
    """Says when it has started, and leaves signals to the process."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.has_started = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.has_started.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listening_socket(host: str, port: int) -> socket.socket:
    """A bound socket; `port` 0 takes a free one. Raises OSError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


class HttpServer:
    """Serves `app` on `host`:`port`; the port is bound from construction on, so that it can be told before serving.

    `max_message_bytes` bounds a WebSocket message.
    """

    def __init__(
        self, app: ASGIApp, *, port: int, host: str = "127.0.0.1", name: str = "http", max_message_bytes: int = 65_536
    ) -> None:
        self.name = name
        self._socket = listening_socket(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._config = uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            ws_max_size=max_message_bytes,
            ws_ping_interval=30.0,
        )
        self._server: _Uvicorn | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when requests are answered."""
        self._server = _Uvicorn(self._config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._socket]), name=self.name)
        started = asyncio.create_task(self._server.has_started.wait())
        await asyncio.wait({started, self._serving}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if self._serving.done():
            self._serving.result()

    def not_ready(self) -> None:
        """Nothing to tell: readiness is asked of the admin port."""

    async def stop(self, limit: timedelta) -> None:
        """Take no new connections, let requests under way finish for at most `limit`, cut the rest off."""
        if self._server is None or self._serving is None:
            self._socket.close()
            return
        self._config.timeout_graceful_shutdown = max(1, round(limit.total_seconds()))
        self._server.should_exit = True
        await self._serving
