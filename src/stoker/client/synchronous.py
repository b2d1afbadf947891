"""The client for ordinary code: standard library only, over TCP or the server's unix socket."""

from __future__ import annotations

import http.client
import os
import socket
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from stoker.client.address import Address, find_address, short_path
from stoker.client.calls import Answer, Call, Reply, understand
from stoker.client.feed import CLOSED, WAITED_FOR, FeedDecoder, FeedEvent, Silence
from stoker.client.persistence import (
    PATIENCE_SECONDS,
    RECONNECT_SECONDS,
    TIMEOUT_SECONDS,
    Broken,
    NoConnection,
    Outcome,
    Send,
    Sleep,
    Terms,
    persist,
)
from stoker.client.verbs import Verbs, has_ended, stream_call, took_too_long

_LOST = (http.client.HTTPException, OSError)


class Client(Verbs[Answer]):
    """Asks one server. May be used by several threads, and as a context manager.

    `url` and `key` default to STOKER_URL and STOKER_API_KEY; without a URL the socket of the default home is used if
    it is there, where the server's own user needs no key. `patience` is how long, in seconds, a call goes on trying
    when a server that answered before is gone or busy.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        """Find out where the server is; nothing is sent yet. Raises `ClientError` for a URL that is none."""
        self.address = find_address(url)
        self._key = key or os.environ.get("STOKER_API_KEY") or None
        self._timeout, self._patience = timeout, patience
        self._was_reached = False
        self._idle: list[http.client.HTTPConnection] = []

    def __enter__(self) -> Self:
        """Use the client for a block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections that are kept open."""
        while (connection := self._take_idle()) is not None:
            connection.close()

    def stream(
        self,
        job_ids: Iterable[str] = (),
        *,
        kinds: Iterable[str] = (),
        last_id: str | None = None,
        reconnect_seconds: float = RECONNECT_SECONDS,
        ends: float | None = None,
    ) -> Generator[FeedEvent, None, None]:
        """Yield the feed of these jobs (of all without any) from now on, or from after `last_id`.

        Its first event is `opened`: from there on nothing is missed. When the server is gone comes `closed`; the feed
        is taken up again where it broke off, without a gap or a repetition, and comes with another `opened`. It ends
        only at `ends`, a `time.monotonic()`. Raises `ServerUnreachable` when no server answered for
        `reconnect_seconds`.
        """
        job_ids, kinds, decoder = tuple(job_ids), tuple(kinds), FeedDecoder(last_id)
        silence = Silence(ends)
        while not silence.is_over:
            feed = self._open(stream_call(job_ids, kinds, decoder.last_id), reconnect_seconds, silence)
            with closing(feed.response):
                yield from feed.events(decoder, silence)
            decoder.break_off()
            if not silence.is_over:
                yield CLOSED
                time.sleep(decoder.pause)

    def wait(self, job_id: str, *, timeout: float | None = None) -> Answer:
        """Wait until a job has ended, over restarts of the server, and give its status.

        Raises `TimeoutError` after `timeout` seconds; the job is not touched by that.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        with closing(self.stream([job_id], kinds=WAITED_FOR, ends=ends)) as feed:
            for event in feed:
                if event.may_end and has_ended(found := self.status(job_id)):
                    return found
        raise took_too_long(job_id, timeout)

    def _carry_out(self, call: Call) -> Answer:
        return understand(self._persist(call, self._patience, lambda step: self._exchange(call, step)))

    def _persist(self, call: Call, patience: float, send: Callable[[Send], Outcome]) -> Reply:
        terms = Terms(address=str(self.address), patience=patience, was_reached=self._was_reached)
        steps = persist(call, terms)
        step = next(steps)
        outcome: Outcome = NoConnection(OSError("nothing was sent yet"))
        while True:
            match step:
                case Sleep(seconds):
                    time.sleep(seconds)
                case Send():
                    outcome = send(step)
                    self._was_reached = self._was_reached or not isinstance(outcome, NoConnection)
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                reply: Reply = end.value
                return reply

    def _exchange(self, call: Call, step: Send) -> Outcome:
        """Send a call once, and read its answer whole."""
        kept = self._take_idle() if step.may_reuse else None
        try:
            connection = kept or self._connect(self._timeout)
        except OSError as error:
            return NoConnection(error)
        try:
            connection.sock.settimeout(call.answer_seconds(self._timeout))
            response = self._request(connection, call)
            body = response.read()
        except _LOST as error:
            connection.close()
            return Broken(error, was_kept=kept is not None)
        if response.will_close:
            connection.close()
        else:
            self._idle.append(connection)
        return Reply(response.status, _lower(response), body)

    def _take_idle(self) -> http.client.HTTPConnection | None:
        """Take a connection that is kept open, in one step: another thread may take the last one meanwhile."""
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _open(self, call: Call, patience: float, silence: Silence) -> _Feed:
        """Open the feed; closing its response closes its connection. Raises what `persist` and a refusal raise."""
        opened: list[_Feed] = []

        def send(_: Send) -> Outcome:
            try:
                connection = self._connect(silence.seconds)
            except OSError as error:
                return NoConnection(error)
            sock = connection.sock
            try:
                response = self._request(connection, call)
                body = b"" if response.status == http.client.OK else response.read()
            except _LOST as error:
                connection.close()
                return Broken(error)
            if response.status == http.client.OK:
                opened.append(_Feed(response, sock))
            else:
                connection.close()
            return Reply(response.status, _lower(response), body)

        understand(self._persist(call, patience, send))
        return opened[0]

    def _request(self, connection: http.client.HTTPConnection, call: Call) -> http.client.HTTPResponse:
        target = self.address.path + call.target
        connection.request(call.method, target, body=call.content, headers=call.all_headers(self._key))
        return connection.getresponse()

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        connection = _connection(self.address, timeout)
        try:
            connection.connect()
        except OSError:
            connection.close()
            raise
        return connection


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket. Raises `OSError`."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        with short_path(self._path) as path:
            self.sock.connect(path)


def _connection(address: Address, timeout: float) -> http.client.HTTPConnection:
    if address.socket is not None:
        return _SocketConnection(address.socket, timeout)
    kind = http.client.HTTPSConnection if address.is_tls else http.client.HTTPConnection
    return kind(address.host, address.port, timeout=timeout)


@dataclass(frozen=True, slots=True)
class _Feed:
    """An open feed: the answer that goes on, and the socket whose patience is set anew for each line."""

    response: http.client.HTTPResponse
    sock: socket.socket

    def events(self, decoder: FeedDecoder, silence: Silence) -> Generator[FeedEvent, None, None]:
        """Yield what the feed sends until it breaks off, however it does, or the time is up."""
        while not silence.is_over:
            try:
                self.sock.settimeout(silence.seconds)
                line = self.response.readline()
            except (*_LOST, ValueError):  # ValueError: reading on after the socket was closed under it
                return
            if not line:
                return
            event = decoder.take(line.decode("utf-8", "replace").rstrip("\r\n"))
            if event is not None:
                yield event


def _lower(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}
