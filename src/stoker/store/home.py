"""The home: a folder of one user on a local disk, held by one server at a time."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from typing import Self

from stoker.domain.errors import HomeLocked, HomeUnusable
from stoker.store.mounts import refuse_network_home

LOCK_NAME = "server.lock"


class HomeLock:
    """A home that this process holds. The kernel frees it when the process is gone, however it went."""

    def __init__(self, home: Path, descriptor: int) -> None:
        """Take over the descriptor of the locked file."""
        self.home = home
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the home free. May be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        """Hold the home for a block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give the home free."""
        self.release()


def lock_home(home: Path) -> HomeLock:
    """Make the home if it is not there (mode 0700) and hold it for this process.

    Raises `HomeLocked` with the holder's pid, and `HomeUnusable` for a home on a network, of another user, or open
    to others.
    """
    refuse_network_home(home)
    _make_private(home)
    try:
        descriptor = os.open(home / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HomeUnusable(f"{home / LOCK_NAME} can't be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _read_pid(descriptor)
        os.close(descriptor)
        raise HomeLocked(str(home), holder) from None
    _write_pid(descriptor)
    return HomeLock(home, descriptor)


def holder_of(home: Path) -> int | None:
    """Give the pid that the last server wrote into the lock; None if there was none. It may be dead by now."""
    try:
        descriptor = os.open(home / LOCK_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _read_pid(descriptor)
    finally:
        os.close(descriptor)


def _make_private(home: Path) -> None:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = home.stat()
    except OSError as error:
        raise HomeUnusable(f"The home {home} can't be made: {error.strerror}. Choose another --home") from error
    if status.st_uid != os.geteuid():
        raise HomeUnusable(f"The home {home} belongs to user id {status.st_uid}. Run as that user, or choose another")
    if stat.S_IMODE(status.st_mode) & 0o077:
        _close_to_others(home)


def _close_to_others(home: Path) -> None:
    """Close a folder of ours; one that holds other things is not ours to change (think of --home /tmp)."""
    names = set(os.listdir(home))
    if names and LOCK_NAME not in names:
        raise HomeUnusable(f"{home} is open to other users and holds other files. Run chmod 700, or choose another")
    home.chmod(0o700)


def _read_pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None


def _write_pid(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
