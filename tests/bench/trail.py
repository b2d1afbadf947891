"""The trail that an attempt leaves: when each of its files appeared, seen from outside."""

import contextlib
import os
import select
import threading
import time
from types import TracebackType
from typing import Self

from stoker.engines.inotify import IN_CREATE, IN_MOVED_TO, Inotify

NEW = ".new-"


class Trail:
    """Notes the first moment (CLOCK_MONOTONIC, seconds) at which each name appeared in a folder.

    Of the folder of all attempts, the directory that is being made is followed as well: it appears as `made`, under its
    own name as `written`, and what appears in it under its name.
    """

    def __init__(self, folder: str) -> None:
        """Begin to watch."""
        self._folder, self._inotify = folder, Inotify()
        self._root = self._inotify.add(folder, IN_CREATE | IN_MOVED_TO)
        self._ends_read, self._ends_write = os.pipe()
        self._moments: dict[str, float] = {}
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        """Nothing more to do."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Watch no more."""
        os.write(self._ends_write, b"!")
        self._thread.join()
        self._inotify.close()
        os.close(self._ends_read)
        os.close(self._ends_write)

    def forget(self) -> None:
        """Begin a new trail."""
        self._moments = {}

    def moment(self, name: str, seconds: float = 20.0) -> float:
        """Give when a name appeared; wait for it if it has not yet."""
        end = time.monotonic() + seconds
        while name not in self._moments:
            assert time.monotonic() < end, f"{name} did not appear; there are {sorted(self._moments)}"
            time.sleep(0.0005)
        return self._moments[name]

    def since(self, began: float, names: dict[str, str]) -> dict[str, float]:
        """Give the milliseconds from `began` to the moment of each name, under what it is to be called."""
        return {called: 1e3 * (self.moment(name) - began) for name, called in names.items()}

    def _follow(self) -> None:
        while self._ends_read not in select.select([self._inotify.fileno(), self._ends_read], [], [])[0]:
            for notice in self._inotify.read():
                self._note(notice.watch, notice.name)

    def _note(self, watch: int, name: str) -> None:
        now = time.monotonic()
        if watch == self._root and name.startswith(NEW):
            self._enter(name)
            name = "made"
        elif watch == self._root and os.path.isdir(os.path.join(self._folder, name)):
            self._enter(name)  # on a busy machine it may have been renamed before it could be followed
            name = "written"
        self._moments.setdefault(name, now)

    def _enter(self, name: str) -> None:
        path = os.path.join(self._folder, name)
        with contextlib.suppress(FileNotFoundError):
            self._inotify.add(path, IN_CREATE | IN_MOVED_TO)
            for found in os.listdir(path):
                self._moments.setdefault(found, time.monotonic())
