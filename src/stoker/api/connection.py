"""One HTTP connection: whose it is, how long its headers may take, and how large they may get."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from stoker.api.answers import encode
from stoker.api.errors import TYPE_PREFIX
from stoker.api.peers import is_own, uid_of

HEADER_SECONDS = 15.0
"""From the beginning of a connection, or of a request on it, to the end of the request's headers."""

MAX_UNREAD_BYTES = 64 << 10
"""More of unfinished headers than this is never kept."""

_WORDS = {
    HTTPStatus.BAD_REQUEST: ("not-http", "This is no HTTP request that can be understood"),
    HTTPStatus.REQUEST_TIMEOUT: ("headers-too-slow", "The request's headers took too long to come"),
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: ("headers-too-large", "The request's headers are too large"),
}


class Connection(HttpToolsProtocol):
    """A connection over TCP or the unix socket; each request's scope tells whether the peer is the own user."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Find out whose the connection is, once and for all its requests."""
        super().connection_made(transport)
        uid = uid_of(transport.get_extra_info("socket").fileno())
        self.app_state = {**self.app_state, "is_own": is_own(uid), "abort": transport.abort}
        self._unread = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._have_headers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless headers without an end have grown too large."""
        if self._deadline is not None:
            self._unread += len(data)
        super().data_received(data)
        if self._deadline is not None and self._unread > MAX_UNREAD_BYTES and not self.transport.is_closing():
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Begin a request."""
        if self._deadline is None:
            self._expect_headers()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Let the request begin."""
        self._have_headers()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - its words are not ours
        """Refuse what is no HTTP, in the form of every other refusal."""
        self._refuse(HTTPStatus.BAD_REQUEST)

    def _expect_headers(self) -> None:
        self._unread = 0
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _have_headers(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        if getattr(self, "url", b""):
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.transport.close()

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer outside of any request, and close."""
        self._have_headers()
        word, detail = _WORDS[status]
        problem = {"type": TYPE_PREFIX + word, "title": status.phrase, "status": status.value, "detail": detail}
        body = encode(problem | {"instance": None, "errors": []})
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
