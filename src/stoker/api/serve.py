"""Serve: the HTTP faces on a port and on the home's unix socket, until a signal; jobs go on when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol

import structlog
import uvicorn
from fastapi import FastAPI

from stoker.api.app import create_app
from stoker.api.connection import Connection
from stoker.api.listening import listen_on_path, listening
from stoker.domain.errors import OpenBind
from stoker.service.context import Context
from stoker.settings import Settings

log = structlog.get_logger()

GRACEFUL_SECONDS = 4
"""Answers under way at a stop have this long; streams are ended at once."""

KEEP_ALIVE_SECONDS = 75
WEBSOCKET_BYTES = 64 << 10


class SchedulerSide(Protocol):
    """What the HTTP side watches of the scheduler."""

    @property
    def is_open(self) -> threading.Event:
        """Set once every open attempt was looked for."""

    @property
    def lost_term(self) -> threading.Event:
        """Set when another server has taken over."""


class House(Protocol):
    """A server without its HTTP faces: entered it schedules, left it lets go of everything but the jobs."""

    @property
    def context(self) -> Context:
        """What its verbs work with."""

    @property
    def scheduler(self) -> SchedulerSide:
        """Its scheduler."""

    def __enter__(self) -> object:
        """Begin to schedule."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave every job running, and give the home free; also where it was never entered."""


def serve(
    settings: Settings, build: Callable[[Settings], House], on_start: Callable[[int], None] = lambda _: None
) -> None:
    """Serve until SIGTERM or SIGINT, or until another server has taken over. Jobs are left running.

    The port is taken first: one that is in use leaves everything untouched. `on_start` is called with the port once
    nothing can refuse the start any more. Raises `PortInUse`, what `build` raises, and `OpenBind` for a bind beyond
    loopback while no key is valid.
    """
    with listening(settings.host, settings.port) as sockets, contextlib.ExitStack() as stack:
        house = build(settings)
        stack.push(house)
        refuse_open_bind(settings, house.context)
        house.__enter__()
        on_start(sockets[0].getsockname()[1])
        _serve(settings, house, sockets)


def refuse_open_bind(settings: Settings, context: Context) -> None:
    """Raise `OpenBind` if strangers could reach the server and nobody could be told from them."""
    now = context.now()
    valid = [key for key in context.store.keys(None) if key.revoked_at is None and (key.expires_at or now) >= now]
    if not settings.is_loopback and not valid:
        raise OpenBind(
            f"{settings.host} can be reached from other machines, and there is no key to tell callers apart. "
            "Make one first: stoker keys create"
        )


def _serve(settings: Settings, house: House, sockets: list[socket.socket]) -> None:
    app = create_app(house.context, is_ready=house.scheduler.is_open.is_set)
    private = listen_on_path(settings.socket)
    server = Server(app, private)
    threading.Thread(target=_watch_term, args=(house.scheduler, server), daemon=True, name="term-watch").start()
    port = sockets[0].getsockname()[1]
    log.info("server_started", host=settings.host, port=port, home=str(settings.home))
    try:
        server.run(sockets)
    finally:
        private.close()
        settings.socket.unlink(missing_ok=True)
        log.info("server_stopped", home=str(settings.home))


def _watch_term(scheduler: SchedulerSide, server: Server) -> None:
    scheduler.lost_term.wait()
    server.stop()


class Server(uvicorn.Server):
    """Uvicorn on a port and a unix socket, asleep while nobody asks, and ended by an event instead of a poll."""

    def __init__(self, app: FastAPI, private: socket.socket) -> None:
        """Take the application and the unix socket, which listens already."""
        config = uvicorn.Config(
            app,
            http=Connection,
            ws="websockets-sansio",
            loop="uvloop",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            ws_max_size=WEBSOCKET_BYTES,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACEFUL_SECONDS,
        )
        super().__init__(config)
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        self._app, self._private = app, private
        self._ended: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def stop(self) -> None:
        """Begin to stop. May be called from any thread, at any time."""
        self.should_exit = True
        if self._loop is not None and self._ended is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(self._ended.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        await super().startup(sockets)
        make = functools.partial(
            Connection, config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        self.servers.append(await self._loop.create_unix_server(make, sock=self._private))

    async def main_loop(self) -> None:
        """Sleep until the end."""
        if not self.should_exit and self._ended is not None:
            await self._ended.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then let answers under way be finished."""
        await self._app.state.broadcaster.stop()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT for a stop. They are not raised again: a stop that was asked for is no failure."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: object) -> None:
        self.force_exit = self.should_exit and number == signal.SIGINT
        self.stop()
