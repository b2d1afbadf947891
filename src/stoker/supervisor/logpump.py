"""The log: the trainer's output, taken from one pipe and kept in segments within a cap."""

from __future__ import annotations

import fcntl
import os

from stoker.rundir.layout import segment_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PIPE_BYTES = 1 << 20
_SET_PIPE_SIZE = 1031  # fcntl.F_SETPIPE_SZ, which is missing from older builds
_READ_BYTES = 1 << 16
TURN_BYTES = 1 << 20
"""How much one turn takes at most, so that a flood does not hold up the other duties."""


class LogPump:
    """Reads the pipe without blocking and appends to the current segment; the oldest ones go to keep the cap.

    `dropped` is told of bytes that are not kept: an old segment, or output that the disk had no room for.
    """

    def __init__(self, directory: str, log_bytes: int, segment_bytes: int, dropped: Callable[[int], None]) -> None:
        """Open the pipe; `writer` is for the trainer and is closed here once it was handed on."""
        self._directory = directory
        self._cap, self._segment_bytes = log_bytes, max(1, min(segment_bytes, log_bytes // 2))
        self._dropped = dropped
        self._kept: list[tuple[str, int]] = []
        self._descriptor = -1
        self._room = self._lost = 0
        self.bytes = self._newlines = 0
        self.has_ended = False
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.reader, False)
        try:
            fcntl.fcntl(self.reader, _SET_PIPE_SIZE, PIPE_BYTES)
        except OSError:  # the user's pipes have used up their share; the kernel's default does
            return

    def hand_on(self) -> None:
        """Give up the writing end, which the trainer has now."""
        os.close(self.writer)

    def close(self) -> None:
        """Give up the reading end; a poll set forgets it by itself."""
        os.close(self.reader)

    def pump(self, budget: int = TURN_BYTES) -> int:
        """Take what is in the pipe, up to `budget` bytes; give how many there were."""
        taken = 0
        while taken < budget:
            try:
                chunk = os.read(self.reader, _READ_BYTES)
            except BlockingIOError:
                break
            if not chunk:
                self.has_ended = True
                break
            taken += len(chunk)
            self._keep(chunk)
        return taken

    def finish(self) -> list[str]:
        """Take what is left in the pipe, without waiting for writers that would not go; give the segments kept."""
        self.pump(2 * PIPE_BYTES)
        self._declare_lost()
        return [path for path, _ in self._kept]

    def _keep(self, chunk: bytes) -> None:
        start = 0
        while start < len(chunk):
            try:
                end = self._fit(chunk, start)
                end = start + os.write(self._descriptor, memoryview(chunk)[start:end])
            except OSError:
                self._lost += len(chunk) - start
                return
            self._count(end - start, chunk.count(b"\n", start, end))
            start = end

    def _fit(self, chunk: bytes, start: int) -> int:
        """Give the end of what goes into the current segment, which ends with a line where it can."""
        if self._room <= 0:
            self._next_segment()
        if len(chunk) - start > self._room:
            end = chunk.rfind(b"\n", start, start + self._room) + 1
            self._room = end - start if end > start else self._room
        return min(len(chunk), start + self._room)

    def _next_segment(self) -> None:
        if self._descriptor >= 0:
            # Begins to write it back now, so that the final sync has little left to do.
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(self._descriptor)
            self._descriptor = -1
        path = os.path.join(self._directory, segment_name(self.bytes, self._newlines))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        self._kept.append((path, 0))
        self._room = self._segment_bytes
        self._drop_oldest()

    def _drop_oldest(self) -> None:
        while len(self._kept) > 1 and sum(size for _, size in self._kept) + self._segment_bytes > self._cap:
            path, size = self._kept.pop(0)
            os.unlink(path)
            self._dropped(size)

    def _count(self, written: int, newlines: int) -> None:
        self.bytes += written
        self._newlines += newlines
        self._room -= written
        path, size = self._kept[-1]
        self._kept[-1] = (path, size + written)
        self._declare_lost()

    def _declare_lost(self) -> None:
        if self._lost:
            self._dropped(self._lost)
            self._lost = 0
