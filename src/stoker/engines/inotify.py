"""The kernel's file change notices, one instance for all attempts: the default limit is 128 per user."""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass

IN_MODIFY = 0x2
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_Q_OVERFLOW = 0x4000
_HEADER = struct.Struct("iIII")
_BUFFER_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Notice:
    """One change: the watch that saw it, what it was, and the name of the file within the watched folder."""

    watch: int
    mask: int
    name: str


class Inotify:
    """Watches folders. Not for use by several threads at once."""

    def __init__(self) -> None:
        """Open the instance; raises `OSError` if the user has none left."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def fileno(self) -> int:
        """Give the descriptor, readable while there are notices."""
        return self._descriptor

    def add(self, folder: str, mask: int = IN_MODIFY | IN_MOVED_TO | IN_CREATE) -> int:
        """Watch a folder and return the watch's number; raises `OSError` if it is not there."""
        return self._checked(self._libc.inotify_add_watch(self._descriptor, os.fsencode(folder), mask))

    def remove(self, watch: int) -> None:
        """Watch no more. A watch whose folder is gone has ended by itself."""
        self._libc.inotify_rm_watch(self._descriptor, watch)

    def read(self) -> list[Notice]:
        """Take the notices that are there, without waiting."""
        try:
            data = os.read(self._descriptor, _BUFFER_BYTES)
        except BlockingIOError:
            return []
        notices, offset = [], 0
        while offset < len(data):
            watch, mask, _, length = _HEADER.unpack_from(data, offset)
            offset += _HEADER.size
            notices.append(Notice(watch, mask, os.fsdecode(data[offset : offset + length].rstrip(b"\0"))))
            offset += length
        return notices

    def close(self) -> None:
        """Close the instance with all its watches."""
        os.close(self._descriptor)

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result
