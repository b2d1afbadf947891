"""The client for asynchronous code, over httpx."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable
from contextlib import ExitStack, aclosing
from types import TracebackType
from typing import Any, Self

import httpx

from stoker.client.address import find_address, short_path
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


class AsyncClient(Verbs[Coroutine[Any, Any, Answer]]):
    """Asks one server; every verb is awaited. Use it as an asynchronous context manager, or `aclose` it.

    The parameters are those of `Client`.
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
        self._open_folder = ExitStack()
        socket = self.address.socket
        path = None if socket is None else self._open_folder.enter_context(short_path(socket))
        transport = httpx.AsyncHTTPTransport(uds=path)
        self._http = httpx.AsyncClient(base_url=self.address.base, transport=transport, timeout=timeout)

    async def __aenter__(self) -> Self:
        """Use the client for a block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        self._open_folder.close()

    async def stream(
        self,
        job_ids: Iterable[str] = (),
        *,
        kinds: Iterable[str] = (),
        last_id: str | None = None,
        reconnect_seconds: float = RECONNECT_SECONDS,
        ends: float | None = None,
    ) -> AsyncGenerator[FeedEvent, None]:
        """Yield the feed as `Client.stream` does."""
        job_ids, kinds, decoder = tuple(job_ids), tuple(kinds), FeedDecoder(last_id)
        silence = Silence(ends)
        while not silence.is_over:
            response = await self._open(stream_call(job_ids, kinds, decoder.last_id), reconnect_seconds, silence)
            async with aclosing(response):
                async for event in _events(response, decoder, silence):
                    yield event
            decoder.break_off()
            if not silence.is_over:
                yield CLOSED
                await asyncio.sleep(decoder.pause)

    async def wait(self, job_id: str, *, timeout: float | None = None) -> Answer:  # noqa: ASYNC109 - as in `Client`
        """Wait until a job has ended, over restarts of the server, and give its status.

        Raises `TimeoutError` after `timeout` seconds; the job is not touched by that.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        async with aclosing(self.stream([job_id], kinds=WAITED_FOR, ends=ends)) as feed:
            async for event in feed:
                if event.may_end and has_ended(found := await self.status(job_id)):
                    return found
        raise took_too_long(job_id, timeout)

    async def _carry_out(self, call: Call) -> Answer:
        async def send(_: Send) -> Outcome:
            response = await self._http.send(self._request(call))
            return Reply(response.status_code, response.headers, response.content)

        return understand(await self._persist(call, self._patience, send))

    async def _open(self, call: Call, patience: float, silence: Silence) -> httpx.Response:
        """Open the feed, to be closed by the caller."""
        opened: list[httpx.Response] = []

        async def send(_: Send) -> Outcome:
            response = await self._http.send(self._request(call, silence.seconds), stream=True)
            if response.status_code == httpx.codes.OK:
                opened.append(response)
                return Reply(response.status_code, response.headers, b"")
            async with aclosing(response):
                return Reply(response.status_code, response.headers, await response.aread())

        understand(await self._persist(call, patience, send))
        return opened[0]

    async def _persist(self, call: Call, patience: float, send: Callable[[Send], Awaitable[Outcome]]) -> Reply:
        terms = Terms(address=str(self.address), patience=patience, was_reached=self._was_reached)
        steps = persist(call, terms)
        step = next(steps)
        outcome: Outcome = NoConnection(OSError("nothing was sent yet"))
        while True:
            match step:
                case Sleep(seconds):
                    await asyncio.sleep(seconds)
                case Send():
                    outcome = await _tried(send, step)
                    self._was_reached = self._was_reached or not isinstance(outcome, NoConnection)
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                reply: Reply = end.value
                return reply

    def _request(self, call: Call, read_seconds: float | None = None) -> httpx.Request:
        headers = call.all_headers(self._key)
        if read_seconds is None:
            timeout = httpx.Timeout(self._timeout, read=call.answer_seconds(self._timeout))
            return self._http.build_request(
                call.method, call.target, content=call.content, headers=headers, timeout=timeout
            )
        timeout = httpx.Timeout(TIMEOUT_SECONDS, read=read_seconds)
        return self._http.build_request(call.method, call.target, headers=headers, timeout=timeout)


async def _tried(send: Callable[[Send], Awaitable[Outcome]], step: Send) -> Outcome:
    try:
        return await send(step)
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        return NoConnection(error)
    except httpx.TransportError as error:
        return Broken(error)


async def _events(response: httpx.Response, decoder: FeedDecoder, silence: Silence) -> AsyncGenerator[FeedEvent, None]:
    """Yield what a feed sends until it breaks off, however it does, or the time is up."""
    lines = response.aiter_lines()
    while not silence.is_over:
        try:
            line = await asyncio.wait_for(anext(lines), silence.seconds)
        except (httpx.TransportError, StopAsyncIteration, TimeoutError):
            return
        event = decoder.take(line)
        if event is not None:
            yield event
