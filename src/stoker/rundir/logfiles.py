"""The log of an attempt: segments named by where they start, so that their names are the index.

A segment is called `log.<first byte>.<first line>`, both as 16 digits. Bytes before the oldest segment were dropped
to keep within the cap; everything after is there without a gap.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

TYPE_CHECKING = False  # typing itself would cost each supervisor a megabyte
if TYPE_CHECKING:
    from collections.abc import Iterator

_READ_BYTES = 1 << 18
MAX_LINE_BYTES = 1 << 20
"""A longer line is cut when it is read as a line."""


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One file of the log: the number of its first byte and of its first line in the whole log, and its path."""

    first_byte: int
    first_line: int
    path: str

    @property
    def size(self) -> int:
        """Its bytes now."""
        try:
            return os.stat(self.path).st_size
        except FileNotFoundError:
            return 0


def segments(directory: str) -> list[Segment]:
    """List the segments that are there, in order."""
    found = []
    for name in os.listdir(directory):
        match name.split("."):
            case ["log", byte, line] if byte.isdigit() and line.isdigit():
                found.append(Segment(int(byte), int(line), os.path.join(directory, name)))
    return sorted(found)


def end_byte(directory: str) -> int:
    """Give the number of bytes that were ever written to the log, dropped ones included."""
    found = segments(directory)
    return found[-1].first_byte + found[-1].size if found else 0


def count_lines(directory: str) -> int:
    """Give the number of lines ever written, a last one without a newline included."""
    found = segments(directory)
    return _newlines(found) + (0 if _ends_with_line(found) else 1)


def count_whole_lines(directory: str) -> int:
    """Give the number of lines ever written to their end."""
    return _newlines(segments(directory))


def read_bytes(directory: str, start: int, end: int) -> tuple[int, bytes]:
    """Read the bytes from `start` to `end` of the log; the first number says where they begin.

    It is larger than `start` where the beginning was dropped. Never a gap: what follows one is left out.
    """
    pieces: list[bytes] = []
    begin = at = start
    for segment in segments(directory) if start < end else []:
        if segment.first_byte >= end or segment.first_byte + segment.size <= start:
            continue
        offset = max(0, start - segment.first_byte)
        piece = _read(segment.path, offset, end - segment.first_byte - offset)
        if not pieces:
            begin = at = segment.first_byte + offset if piece else start
        elif at != segment.first_byte:
            break
        if piece:
            pieces.append(piece)
            at += len(piece)
    return begin, b"".join(pieces)


def read_lines(directory: str, first: int, limit: int, max_bytes: int = 8 << 20) -> list[bytes]:
    """Read up to `limit` lines from line `first` on (0-based), without their newlines and within `max_bytes`.

    Lines that were dropped are skipped.
    """
    return read_numbered_lines(directory, first, limit, max_bytes)[1]


def read_numbered_lines(directory: str, first: int, limit: int, max_bytes: int = 8 << 20) -> tuple[int, list[bytes]]:
    """Read lines as `read_lines` does; the number is that of the first, later than `first` if that was dropped."""
    lines: list[bytes] = []
    begin, room = first, max_bytes
    for number, line in _lines_from(directory, first):
        if len(lines) >= limit or room <= 0:
            break
        begin = begin if lines else number
        lines.append(line)
        room -= len(line)
    return begin, lines


def read_last_lines(directory: str, first: int, limit: int, max_bytes: int = 8 << 20) -> tuple[int, list[bytes]]:
    """Read the same lines, but where they are more than `max_bytes` leave out the first of them, not the last."""
    lines: list[bytes] = []
    begin = end = first
    held = 0
    for number, line in _lines_from(directory, first):
        if number >= first + limit:
            break
        lines.append(line)
        held += len(line)
        end = number + 1
        while held > max_bytes and len(lines) > 1:
            held -= len(lines.pop(0))
        begin = end - len(lines)
    return begin, lines


def _lines_from(directory: str, first: int) -> Iterator[tuple[int, bytes]]:
    """Give the lines and their numbers, from line `first` on or the first that is there."""
    found = segments(directory)
    start = max((i for i, s in enumerate(found) if s.first_line <= first), default=0)
    while start and found[start].first_line == first and not _ends_with_line(found[:start]):
        start -= 1  # the line began in an earlier segment
    return ((number, line) for number, line in _lines(found[start:]) if number >= first)


def _lines(found: list[Segment]) -> Iterator[tuple[int, bytes]]:
    """Give the lines and their numbers. A segment that was dropped meanwhile is passed over, its numbers too."""
    rest, number = b"", 0
    for segment in found:
        if not rest:
            number = segment.first_line
        for chunk in _chunks(segment.path):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield number, line[:MAX_LINE_BYTES]
                number += 1
            rest = rest[:MAX_LINE_BYTES]
    if rest:
        yield number, rest


def _newlines(found: list[Segment]) -> int:
    """Give the number of ends of lines, those of dropped segments included."""
    return found[-1].first_line + sum(chunk.count(b"\n") for chunk in _chunks(found[-1].path)) if found else 0


def _ends_with_line(found: list[Segment]) -> bool:
    """Tell whether what was written last is the end of a line."""
    for segment in reversed(found):
        if size := segment.size:
            return _read(segment.path, size - 1, 1) in (b"\n", b"")
    return True


def _chunks(path: str) -> Iterator[bytes]:
    """Read a file to its end, through one descriptor: a segment that is dropped meanwhile is read whole."""
    descriptor = _open(path)
    if descriptor is None:
        return
    try:
        while chunk := os.read(descriptor, _READ_BYTES):
            yield chunk
    finally:
        os.close(descriptor)


def _read(path: str, offset: int, length: int) -> bytes:
    descriptor = _open(path)
    if descriptor is None:
        return b""
    try:
        return os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)


def _open(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:  # dropped meanwhile
        return None
