"""The broadcaster: reads the feed once for all streams that are at its head, when something was committed."""

from __future__ import annotations

import asyncio
from collections import deque

import structlog

from stoker.api.feeding import FeedReader, Selection, Wants
from stoker.api.frames import event, keep_alive
from stoker.api.workers import Workers
from stoker.domain.errors import Unavailable
from stoker.domain.events import FeedItem

log = structlog.get_logger()

BUFFER_BYTES = 256 << 10
"""A stream that has more than this unsent reads on by itself, at its own pace."""

GATHER_SECONDS = 0.01
"""After a pass the broadcaster waits this long, so that a burst of commits costs a few reads and not thousands."""

FAREWELL_SECONDS = 1.0
"""How long a client of a stream that ends has for taking what is being sent to it."""

TROUBLE_SECONDS = 0.5
_RESET = "What came after this id is kept no more, or the id is not known. Load what you show anew"


class Stream:
    """One follower of the feed, in the event loop. Either behind, and reading by itself, or fed by the broadcaster."""

    def __init__(self, selection: Selection, position: int) -> None:
        """Take what it shows, and the id after which it begins."""
        self.selection, self.position = selection, position
        self.is_behind, self.is_closed = True, False
        self.news = asyncio.Event()
        self.sending: asyncio.Timeout | None = None
        self._frames: deque[bytes] = deque()
        self._size = 0

    def offer(self, frames: tuple[bytes, ...], position: int) -> bool:
        """Take events up to `position`, or none of them and be behind from now on."""
        size = sum(map(len, frames))
        if self._size + size > BUFFER_BYTES:
            self.is_behind = True
            self.news.set()
            return False
        self.put(frames, position)
        return True

    def put(self, frames: tuple[bytes, ...], position: int) -> None:
        """Take events up to `position`, however large."""
        self.position = position
        if frames:
            self._frames.extend(frames)
            self._size += sum(map(len, frames))
            self.news.set()

    def take(self, most: int) -> bytes:
        """Take about `most` bytes of whole events; empty if there is nothing."""
        taken, size = [], 0
        while self._frames and (size == 0 or size + len(self._frames[0]) <= most):
            taken.append(self._frames.popleft())
            size += len(taken[-1])
        self._size -= size
        return b"".join(taken)

    def close(self) -> None:
        """End the stream; who serves it sees that at once, or soon if the client takes nothing just then."""
        self.is_closed = True
        self.news.set()
        if self.sending is not None and not self.sending.expired():
            self.sending.reschedule(asyncio.get_running_loop().time() + FAREWELL_SECONDS)


class Broadcaster:
    """All streams of one server. Lives in the event loop; only `wake` may be called from any thread."""

    def __init__(self, reader: FeedReader, workers: Workers) -> None:
        """Take what reads the feed, and the threads to do so."""
        self._reader, self._workers = reader, workers
        self._streams: set[Stream] = set()
        self._fed: set[Stream] = set()
        self._head = 0
        self._pass = asyncio.Lock()
        self._woken = asyncio.Event()
        self._is_woken = self._is_stopped = False
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run(), name="broadcaster")

    def wake(self) -> None:
        """Say that the feed grew. Never blocks; without a stream at the head it costs nothing."""
        if self._fed and not self._is_woken:
            self._is_woken = True
            self._loop.call_soon_threadsafe(self._woken.set)

    async def open(self, selection: Selection, last_id: int | None) -> Stream:
        """Begin a stream after an id, or at the end of the feed. Raises `Unavailable` once the server stops.

        It begins with the id that it goes on from, or with a reset where it can't go on.
        """
        if self._is_stopped:
            raise Unavailable("The server stops. Open the stream again soon")
        if last_id is not None and await self._workers.run(self._reader.can_resume, last_id):
            position, first = last_id, keep_alive(last_id)
        else:
            position = await self._workers.run(self._reader.newest)
            first = keep_alive(position) if last_id is None else _reset(position, last_id)
        stream = Stream(selection, position)
        stream.put((first,), position)
        self._streams.add(stream)
        return stream

    def leave(self, stream: Stream) -> None:
        """End a stream."""
        self._streams.discard(stream)
        self._fed.discard(stream)
        stream.close()

    async def catch_up(self, stream: Stream) -> None:
        """Let a stream that is behind read on, and feed it from now on once it has come to the head."""
        part = await self._workers.run(self._reader.part, stream.position, stream.selection.wants)
        if part.is_broken:
            newest = await self._workers.run(self._reader.newest)
            stream.put((_reset(newest, stream.position),), newest)
            return
        stream.put(part.frames, part.position)
        if part.is_end:
            await self._join(stream)

    async def stop(self) -> None:
        """End every stream, and the broadcaster."""
        self._is_stopped = True
        for stream in list(self._streams):
            self.leave(stream)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _join(self, stream: Stream) -> None:
        """Feed a stream from now on, if it is no further back than what was handed out last."""
        async with self._pass:
            if not self._fed:
                self._head = stream.position
            if stream.position < self._head or stream.is_closed:
                return
            stream.is_behind = False
            self._fed.add(stream)
        self._woken.set()  # for what was committed while nobody listened

    async def _run(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            self._is_woken = False
            try:
                while not await self._hand_out():
                    pass
            except Exception:
                log.exception("feed_not_read")
                self._woken.set()
                await asyncio.sleep(TROUBLE_SECONDS)
            await asyncio.sleep(GATHER_SECONDS)

    async def _hand_out(self) -> bool:
        """Make one pass over what is new; tell whether that was all."""
        async with self._pass:
            streams = tuple(self._fed)
            if not streams:
                return True
            wants = tuple(_newer_than(stream) for stream in streams)
            share = await self._workers.run(self._reader.share, self._head, wants)
            self._head = share.position
            for stream, frames in zip(streams, share.frames, strict=True):
                if not stream.offer(frames, max(stream.position, share.position)):
                    self._fed.discard(stream)
            return share.is_end


def _reset(newest: int, asked_for: int) -> bytes:
    return event("reset", newest, {"newest": newest, "asked_for": asked_for, "message": _RESET})


def _newer_than(stream: Stream) -> Wants:
    """Give what a stream wants of rows that were read for all: it may be ahead of the others."""
    wants, position = stream.selection.wants, stream.position

    def is_wanted(item: FeedItem) -> bool:
        return item.id > position and wants(item)

    return is_wanted
