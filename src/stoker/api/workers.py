"""Threads that carry out what would block the event loop. A hop there and back costs a few microseconds.

The usual pools lock several times for each call; at a thousand requests a second that is most of their cost. Here calls
go over one lock-free queue, and answers that are ready together come back together.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_Work = tuple["asyncio.Future[Any]", Callable[[], Any]]


class Workers:
    """A fixed number of threads for one event loop. They never keep the process from ending."""

    def __init__(self, count: int, name: str) -> None:
        """Start them; must be called in the event loop."""
        self._loop = asyncio.get_running_loop()
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._done: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._is_called = False
        self._count = count
        for number in range(count):
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True).start()

    async def run(self, call: Callable[P, T], *values: P.args, **named: P.kwargs) -> T:
        """Carry a call out in one of the threads and give what it gives, or raise what it raises."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._work.put((future, lambda: call(*values, **named)))
        return await future

    def close(self) -> None:
        """Let the threads end once they have done what was given to them."""
        for _ in range(self._count):
            self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            future, call = work
            if future.cancelled():
                continue
            result, error = None, None
            try:
                result = call()
            except BaseException as raised:  # noqa: BLE001 - handed on to who asked
                error = raised
            self._done.append((future, result, error))
            if not self._is_called:
                self._is_called = True
                self._call_loop()

    def _call_loop(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # the loop is closed: nobody waits any more
            self._done.clear()

    def _deliver(self) -> None:
        self._is_called = False
        while self._done:
            future, result, error = self._done.popleft()
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
