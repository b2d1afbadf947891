"""The one door: every request of every kind passes it, and what it does not let in reaches nothing behind it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus

import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from stoker.api.callers import find_caller
from stoker.api.errors import Refused, crashed, explain, no_such_route
from stoker.api.meters import Meters
from stoker.api.origins import Headers, check_host, check_origin, names_of
from stoker.domain.actor import Scope as KeyScope
from stoker.domain.errors import StokerError, Unavailable
from stoker.service.context import Context, require

log = structlog.get_logger()

PUBLIC = frozenset({("GET", "/health"), ("HEAD", "/health"), ("GET", "/ready"), ("HEAD", "/ready")})
"""What strangers may ask; nothing here tells of a job."""

LARGE_BODIES = frozenset({"/api/training/execute", "/api/training/validate-spec"})
"""Where a data set may come along; only who may submit may send it."""

SMALL_BODY_BYTES = 64 << 10
"""The bound of every other body."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "WEBSOCKET"})
MAX_HEADER_BYTES, MAX_HEADERS, MAX_TARGET_BYTES = 32 << 10, 100, 8 << 10
BODY_SILENCE_SECONDS = 30.0
"""A body that brings nothing for this long is given up."""

LINGER_SECONDS = 2.0
"""How long a refused body is read and thrown away, so that the client gets to see why."""

ONCE = frozenset(
    {
        b"host", b"origin", b"authorization", b"x-api-key", b"content-type", b"content-length", b"sec-fetch-site",
        b"idempotency-key", b"last-event-id", b"transfer-encoding",
    }
)  # fmt: skip
"""Headers that decide something, and so may come only once: of two, each reader would take another."""

SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Door:
    """ASGI middleware around the whole application: default deny."""

    def __init__(
        self, app: ASGIApp, *, context: Context, is_ready: Callable[[], bool], meters: Meters, max_body: int
    ) -> None:
        """Take the application and what decides who may pass. `max_body` is in bytes."""
        self._app, self._context, self._is_ready, self._meters = app, context, is_ready, meters
        self._names, self._max_body = names_of(context.settings), max_body
        self._date = (0, b"")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in or refuse it; count it; put the headers on that every answer has."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._now_header(), min(self._max_body, SMALL_BODY_BYTES))
        try:
            await self._admit(scope, exchange)
            await self._app(scope, exchange.receive, exchange.send)
        except (ClientDisconnect, WebSocketDisconnect):
            log.debug("caller_left", path=scope["path"])
        except StokerError as error:
            await exchange.refuse(explain(error, scope["path"]))
        except Exception:
            log.exception("request_crashed", method=_method(scope), path=scope["path"])
            await exchange.refuse(crashed(scope["path"]))
        finally:
            route = getattr(scope.get("route"), "path", None)
            self._meters.count(_method(scope), route, exchange.status, exchange.seconds)

    async def _admit(self, scope: Scope, exchange: _Exchange) -> None:
        """Raise the error with which the request is refused, if it is."""
        headers = read_headers(scope)
        check_host(headers, self._names, (scope.get("server") or (None,))[0])
        check_origin(headers)
        method = _method(scope)
        if (method, scope["path"]) in PUBLIC:
            return
        caller = await find_caller(self._context, scope["app"].state.quick_workers, headers, scope["state"])
        scope["state"]["caller"] = caller
        if method == "POST" and scope["path"] in LARGE_BODIES:
            exchange.allow(self._max_body)
            exchange.announce_body(headers, method)
            require(caller.actor, KeyScope.SUBMIT)
        else:
            exchange.announce_body(headers, method)
        if method not in SAFE_METHODS and not self._is_ready():
            raise Unavailable("The server is still looking for the jobs that run. Send the same request again soon")

    def _now_header(self) -> bytes:
        now = int(time.time())
        if self._date[0] != now:
            self._date = (now, formatdate(now, usegmt=True).encode())
        return self._date[1]


def read_headers(scope: Scope) -> Headers:
    """Give the headers by name. Raises `Refused` for too many, too long, or two of one that decides something."""
    raw = scope["headers"]
    if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_TARGET_BYTES:
        raise Refused(HTTPStatus.REQUEST_URI_TOO_LONG, "target-too-long", "The address is too long. Shorten the query")
    size, headers = 0, {}
    for name, value in raw:
        size += len(name) + len(value)
        if name in headers and name in ONCE:
            detail = f"The header {name.decode('latin-1')} came twice. Send it once"
            raise Refused(HTTPStatus.BAD_REQUEST, "header-twice", detail)
        headers[name] = value
    if size > MAX_HEADER_BYTES or len(raw) > MAX_HEADERS:
        detail = f"The headers are too many or too long. Send at most {MAX_HEADERS}, of {MAX_HEADER_BYTES} bytes in all"
        raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers-too-large", detail)
    return headers


class _Exchange:
    """One request and its answer: the body counted as it comes in, the common headers put on as the answer goes out."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, date: bytes, max_body: int) -> None:
        self._scope, self._receive, self._send, self._date = scope, receive, send, date
        self._max_body, self._room = max_body, max_body
        self._has_body = self._is_cut = False
        self._began = time.perf_counter()
        self.status, self.seconds = 0, 0.0

    def allow(self, max_body: int) -> None:
        """Let the body have so many bytes."""
        self._max_body = self._room = max_body

    def announce_body(self, headers: Headers, method: str) -> None:
        """Refuse a body by what its headers say of it: too large, or not JSON."""
        if method == "WEBSOCKET":
            return
        length = headers.get(b"content-length", b"0")
        self._has_body = length != b"0" or b"transfer-encoding" in headers
        if length.isdigit() and int(length) > self._max_body:
            raise self._too_large()
        kind = headers.get(b"content-type")
        if (kind is not None or self._has_body) and not _is_json(kind):
            detail = "Bodies are JSON here. Send `Content-Type: application/json`"
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not-json", detail)
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            detail = "Bodies are not compressed here. Send the JSON as it is"
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "compressed", detail)

    async def receive(self) -> Message:
        """Pass a part of the body on, within the bounds of size and patience."""
        if not self._has_body:
            return await self._receive()
        try:
            async with asyncio.timeout(BODY_SILENCE_SECONDS):
                message = await self._receive()
        except TimeoutError:
            self._is_cut = True
            detail = f"The body stopped coming for {BODY_SILENCE_SECONDS:.0f} seconds. Send the request again"
            raise Refused(HTTPStatus.REQUEST_TIMEOUT, "body-too-slow", detail) from None
        self._room -= len(message.get("body", b""))
        if self._room < 0:
            raise self._too_large()
        self._has_body = message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on."""
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            self._note(message["status"])
            named = {name for name, _ in message["headers"]}
            common = [(name, value) for name, value in SECURITY_HEADERS if name not in named]
            closing = [(b"connection", b"close")] if self._is_cut else []
            message["headers"] = [*message["headers"], *common, (b"date", self._date), *closing]
        elif self._is_cut and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body", "body": b""}
        elif message["type"] == "websocket.accept":
            self._note(HTTPStatus.SWITCHING_PROTOCOLS)
        elif message["type"] == "websocket.close" and not self.status:
            await self.refuse(no_such_route(self._scope["path"]))
            return
        await self._send(message)

    async def refuse(self, response: Response) -> None:
        """Answer in place of the application, unless it has begun to answer."""
        if self.status:
            return
        if self._scope["type"] == "http":
            self._is_cut = self._has_body
            await response(self._scope, self._receive, self.send)
            return
        start = {"type": "websocket.http.response.start", "status": response.status_code}
        await self.send(start | {"headers": response.raw_headers})
        await self.send({"type": "websocket.http.response.body", "body": response.body})

    async def _linger(self) -> None:
        """Read on a little before the close: to close on a client that still sends would lose it the answer."""
        more = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while more:
                    message = await self._receive()
                    more = message["type"] == "http.request" and message.get("more_body", False)

    def _note(self, status: int) -> None:
        self.status, self.seconds = status, time.perf_counter() - self._began

    def _too_large(self) -> Refused:
        self._is_cut = True
        detail = f"The body is larger than {self._max_body} bytes. Put the data into a file and send its path"
        return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", detail)


def _is_json(kind: bytes | None) -> bool:
    return kind is not None and kind.partition(b";")[0].strip().lower() == b"application/json"


def _method(scope: Scope) -> str:
    return scope["method"] if scope["type"] == "http" else "WEBSOCKET"
