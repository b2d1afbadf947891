"""The feed as server-sent events: any set of jobs on one connection, resumed exactly after any break."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Annotated

import structlog
from fastapi import APIRouter, Header, Query, Request
from starlette.datastructures import State
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from stoker.api.broadcast import FAREWELL_SECONDS, TROUBLE_SECONDS, Broadcaster, Stream
from stoker.api.callers import Caller
from stoker.api.errors import Refused
from stoker.api.feeding import Selection
from stoker.api.frames import keep_alive
from stoker.api.meters import Meters
from stoker.api.routes import Route, caller
from stoker.api.shapes import read_choice, read_job_ids
from stoker.domain.actor import Scope as Right
from stoker.domain.errors import Unavailable, invalid
from stoker.domain.events import FeedKind
from stoker.service.context import require

log = structlog.get_logger()

KEEP_ALIVE_SECONDS = 15.0
SEND_SECONDS = 10.0
"""A client that takes nothing for this long is cut off; it resumes by the id it saw last."""

SEND_BYTES = 64 << 10
STREAMS_PER_OWNER = 50

HEAD = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)

router = APIRouter(prefix="/api/training", route_class=Route, tags=["stream"])


class Seats:
    """How many streams each owner has open; nobody may take them all."""

    def __init__(self, meters: Meters) -> None:
        """Begin with every seat free."""
        self.meters = meters
        self._taken: Counter[str] = Counter()

    @contextlib.contextmanager
    def taken(self, owner: str) -> Iterator[None]:
        """Hold a seat for a block. Raises `Refused` if the owner has no more."""
        self.check(owner)
        self._taken[owner] += 1
        self.meters.streams.inc()
        try:
            yield
        finally:
            self._taken[owner] -= 1
            self.meters.streams.dec()

    def check(self, owner: str) -> None:
        """Raise `Refused` if the owner has no seat left."""
        if self._taken[owner] >= STREAMS_PER_OWNER:
            detail = (
                f"{STREAMS_PER_OWNER} streams are open in your name, which is the most. "
                "Close one, or follow several jobs on one stream"
            )
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "too-many-streams", detail, {"Retry-After": "5"})


@router.get("/stream", responses={200: {"content": {"text/event-stream": {}}}})
async def get_stream(
    request: Request,
    jobs: Annotated[list[str] | None, Query()] = None,
    kinds: Annotated[list[str] | None, Query()] = None,
    last_event_id: str | None = None,
    from_header: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> Response:
    """Follow jobs: state, progress, metrics, log and deleted, each with an id to resume after.

    `jobs` and `kinds` are lists with commas; without them all that the caller may see is sent. The stream goes on
    after `Last-Event-ID`, or begins now; where it can't go on from there, `reset` comes first: then what is shown must
    be loaded anew.
    """
    who = caller(request)
    require(who.actor, Right.READ)
    selection = Selection(who.actor, read_job_ids(jobs or ()), read_choice("kinds", kinds or (), FeedKind))
    after = _read_id(from_header or last_event_id)
    seats: Seats = request.app.state.seats
    seats.check(who.actor.owner)
    return StreamAnswer(request.app.state, who, selection, after)


class StreamAnswer(Response):
    """The answer that goes on for as long as the client takes it."""

    def __init__(self, house: State, who: Caller, selection: Selection, after: int | None) -> None:
        """Take the application's parts, whose stream it is, what it shows, and where it begins."""
        super().__init__()
        self._house, self._who, self._selection, self._after = house, who, selection, after
        self._broadcaster: Broadcaster = house.broadcaster
        self._seats: Seats = house.seats

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream until the client or the server leaves."""
        with self._seats.taken(self._who.actor.owner):
            stream = await self._broadcaster.open(self._selection, self._after)
            listening = asyncio.create_task(_close_with(stream, receive))
            try:
                await send({"type": "http.response.start", "status": 200, "headers": list(HEAD)})
                await self._follow(stream, send)
            except TimeoutError:
                self._cut_off(scope)
            finally:
                listening.cancel()
                self._broadcaster.leave(stream)

    async def _follow(self, stream: Stream, send: Send) -> None:
        loop = asyncio.get_running_loop()
        check_at = loop.time() + KEEP_ALIVE_SECONDS
        while not stream.is_closed:
            chunk = stream.take(SEND_BYTES)
            if not chunk and not stream.is_behind:
                chunk = await _wait(stream, check_at - loop.time())
            if chunk:
                await _send(stream, send, chunk, SEND_SECONDS)
            elif stream.is_behind and not stream.is_closed:
                await self._read_on(stream)
            if loop.time() >= check_at:
                check_at = loop.time() + KEEP_ALIVE_SECONDS
                if not await self._who.still_valid(self._house.context, self._house.quick_workers):
                    break
        await _send(stream, send, b"", FAREWELL_SECONDS, more=False)

    async def _read_on(self, stream: Stream) -> None:
        try:
            await self._broadcaster.catch_up(stream)
        except Unavailable as error:
            log.warning("stream_waits", error=str(error))
            await asyncio.sleep(TROUBLE_SECONDS)

    def _cut_off(self, scope: Scope) -> None:
        """Drop the connection with all that waits to be sent: a client that reads nothing would hold it for ever."""
        self._seats.meters.dropped.inc()
        log.info("stream_dropped", owner=self._who.actor.owner, why="the client takes nothing")
        abort: Callable[[], None] | None = scope["state"].get("abort")
        if abort is not None:
            abort()


async def _wait(stream: Stream, seconds: float) -> bytes:
    """Wait for news; give what to send meanwhile: nothing, or after a silence a sign of life."""
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await stream.news.wait()
    except TimeoutError:  # what came at the last moment goes first: its ids are not above those of the sign of life
        return b"" if stream.news.is_set() else keep_alive(stream.position)
    stream.news.clear()
    return b""


async def _send(stream: Stream, send: Send, chunk: bytes, seconds: float, *, more: bool = True) -> None:
    """Send within a bound, which is a closer one from when the stream is closed on."""
    async with asyncio.timeout(seconds) as bound:
        stream.sending = bound
        try:
            await send({"type": "http.response.body", "body": chunk, "more_body": more})
        finally:
            stream.sending = None


async def _close_with(stream: Stream, receive: Receive) -> None:
    """Close the stream when the client goes."""
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.close()


def _read_id(text: str | None) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:  # noqa: PLR2004 - what fits the database
        raise invalid("Last-Event-ID", "is no id of this stream", "Send the id of the last event, or leave it out")
    return int(text)
