"""A progress.json, as the original system's trainers rewrite it, and whether it shows that the work moved.

The file is judged by change and not by value, so a clock that jumps means nothing. What only tells the time or the
state of the device is no sign of work.
"""

from __future__ import annotations

import json
import os
import stat

WHOLE_BYTES = 1 << 20
"""A larger file is judged by what stands before its history, which the original's trainers write last."""

_HEAD_BYTES = 1 << 16
_HISTORY = b'"metrics_history"'
_TIME = "updated_at"
_NO_WORK = frozenset({_TIME, "elapsed_seconds", "remaining_seconds", "timestamp"})
_DEVICE = "gpu_"


class ProgressFile:
    """One file that may appear. `bad` counts the versions of it that could not be understood."""

    def __init__(self, path: str) -> None:
        """Take what is there already as the state before the job."""
        self.path = path
        self.bad = 0
        self._version: tuple[int, ...] | None = None
        self._seal: int | None = None
        self.look()
        self.bad = 0

    def look(self) -> bool:
        """Tell whether the work moved since the last look. Never waits and never raises, whatever lies there."""
        try:
            version = _version(os.lstat(self.path))
        except OSError:
            return False
        if version == self._version:
            return False
        self._version = version
        seal = _seal(_read(self.path))
        if seal is None:
            self.bad += 1
            return False
        moved, self._seal = seal != self._seal, seal
        return moved


def _version(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read(path: str) -> bytes:
    """Read a regular file, the head of one that is too large; empty for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return b""
        if found.st_size <= WHOLE_BYTES:
            return os.pread(descriptor, found.st_size, 0)
        return _close_head(os.pread(descriptor, _HEAD_BYTES, 0))
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _close_head(head: bytes) -> bytes:
    before, found, _ = head.partition(_HISTORY)
    return before.rstrip().removesuffix(b",") + b"}" if found else b""


def _seal(data: bytes) -> int | None:
    """Give a number for the work that the file tells of; None if it tells nothing."""
    try:
        value = json.loads(data, object_pairs_hook=_work)
        if not isinstance(value, dict):
            return None
        return hash(repr(value)) if value else hash(repr(json.loads(data).get(_TIME)))
    except (ValueError, RecursionError):
        return None


def _work(pairs: list[tuple[str, object]]) -> dict[str, object]:
    return {key: value for key, value in pairs if key not in _NO_WORK and not key.startswith(_DEVICE)}
