"""Reading a file that another process appends to: whole lines only, each once, whatever is done to the file."""

from __future__ import annotations

import os
import stat
from dataclasses import replace

from stoker.domain.values import value

PART_BYTES, PART_LINES = 1 << 16, 500
"""What is read at once, so that taking it in is a matter of milliseconds."""

MAX_LINE_BYTES = 1 << 20
"""A longer line is passed over and counted, never held in memory."""


@value(frozen=True, slots=True)
class Place:
    """Where a reader stands: the file it reads (device, inode), the offset of the next unread line, how many lines
    it has taken, how many it had to drop, and whether it is inside a line that is too long.
    """

    device: int = 0
    inode: int = 0
    offset: int = 0
    taken: int = 0
    dropped: int = 0
    skipping: bool = False

    def encode(self) -> str:
        """Give the place as a short opaque text."""
        return f"{self.device}.{self.inode}.{self.offset}.{self.taken}.{self.dropped}.{int(self.skipping)}"

    @staticmethod
    def decode(text: str) -> Place:
        """Read a place back; the start for an empty text."""
        if not text:
            return Place()
        device, inode, offset, taken, dropped, skipping = (int(part) for part in text.split("."))
        return Place(device, inode, offset, taken, dropped, bool(skipping))


def read_lines(path: str, place: Place, limit: int = PART_BYTES, most: int = PART_LINES) -> tuple[list[bytes], Place]:
    """Read the complete lines after `place`, about `limit` bytes and at most `most` of them, and the place after them.

    A half line at the end stays for the next call. A file that was replaced or truncated is read from its start.
    A link, a pipe or a directory in its place reads as empty.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return [], place
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return [], place
        place = _resync(place, status)
        unread = status.st_size - place.offset
        chunk = os.pread(descriptor, min(unread, limit), place.offset)
        if unread > limit and b"\n" not in chunk:
            chunk = os.pread(descriptor, min(unread, MAX_LINE_BYTES), place.offset)
    except OSError:
        return [], place
    finally:
        os.close(descriptor)
    return _split(chunk, place, most)


def _resync(place: Place, status: os.stat_result) -> Place:
    if place.inode == status.st_ino and place.offset <= status.st_size:
        return replace(place, device=status.st_dev)  # a file system's number may change with a boot, its files do not
    return replace(place, device=status.st_dev, inode=status.st_ino, offset=0, skipping=False)


def _split(chunk: bytes, place: Place, most: int) -> tuple[list[bytes], Place]:
    end = chunk.rfind(b"\n") + 1
    if end == 0:
        return [], _pass_over(chunk, place)
    lines = chunk[: end - 1].split(b"\n", most)
    if len(lines) > most:
        end -= len(lines.pop()) + 1
    if place.skipping:
        lines = lines[1:]
    return lines, replace(place, offset=place.offset + end, taken=place.taken + len(lines), skipping=False)


def _pass_over(chunk: bytes, place: Place) -> Place:
    if len(chunk) < MAX_LINE_BYTES:
        return place
    dropped = place.dropped if place.skipping else place.dropped + 1
    return replace(place, offset=place.offset + len(chunk), dropped=dropped, skipping=True)
