"""News of the attempts on this machine: changes of their records and the deaths of their supervisors."""

from __future__ import annotations

import os
import select

from stoker.engines.inotify import IN_Q_OVERFLOW, Inotify
from stoker.engines.port import News
from stoker.rundir.identity import ProcessId, open_pidfd
from stoker.rundir.layout import AttemptDir

SILENT_NAMES = ("seen", "lock")
"""Records that change all the time and are read when somebody asks."""


class LocalNews:
    """One epoll over one inotify instance and a pidfd per supervisor."""

    def __init__(self) -> None:
        """Open the descriptors."""
        self._inotify = Inotify()
        self._epoll = select.epoll()
        self._epoll.register(self._inotify.fileno(), select.EPOLLIN)
        self._watches: dict[int, str] = {}
        self._watched: dict[str, set[int]] = {}
        self._pidfds: dict[int, str] = {}
        self._processes: set[str] = set()
        self._dead: set[str] = set()

    def fileno(self) -> int:
        """Give a descriptor that is readable while there is news."""
        return self._epoll.fileno()

    def watch(self, attempt_id: str, attempt: AttemptDir) -> bool:
        """Report changes of an attempt's records from now on; quiet if its directory is not there.

        False if the kernel lends no more watches, so that the records must be looked at instead.
        """
        watches = self._watched.setdefault(attempt_id, set())
        for folder in (attempt.root, attempt.run):
            try:
                watch = self._inotify.add(folder)
            except FileNotFoundError:
                continue
            except OSError:
                return False
            watches.add(watch)
            self._watches[watch] = attempt_id
        return True

    def watches_process(self, attempt_id: str) -> bool:
        """Tell whether the supervisor's death will be reported, or was."""
        return attempt_id not in self._watched or attempt_id in self._processes

    def watch_process(self, attempt_id: str, who: ProcessId) -> None:
        """Report the death of a supervisor, at the next look if it is dead already. Once per attempt."""
        if self.watches_process(attempt_id):
            return
        self._processes.add(attempt_id)
        descriptor = open_pidfd(who)
        if descriptor is None:
            self._dead.add(attempt_id)
            return
        self._pidfds[descriptor] = attempt_id
        self._epoll.register(descriptor, select.EPOLLIN)

    def unwatch(self, attempt_id: str) -> None:
        """Report nothing more of an attempt."""
        self._processes.discard(attempt_id)
        self._dead.discard(attempt_id)
        for watch in self._watched.pop(attempt_id, set()):
            if self._watches.pop(watch, None) is not None:
                self._inotify.remove(watch)
        for descriptor in [d for d, owner in self._pidfds.items() if owner == attempt_id]:
            self._forget_process(descriptor)

    def take(self) -> News:
        """Take what is new, without waiting."""
        changed: set[str] = set()
        for descriptor, _ in self._epoll.poll(0):
            if descriptor == self._inotify.fileno():
                changed |= self._changed()
            else:
                self._dead.add(self._pidfds[descriptor])
                self._forget_process(descriptor)
        died, self._dead = self._dead, set()
        return News(frozenset(changed), frozenset(died))

    def close(self) -> None:
        """Close every descriptor."""
        for descriptor in list(self._pidfds):
            self._forget_process(descriptor)
        self._epoll.close()
        self._inotify.close()

    def _changed(self) -> set[str]:
        notices = self._inotify.read()
        if any(notice.mask & IN_Q_OVERFLOW for notice in notices):
            return set(self._watched)
        named = (n for n in notices if n.name not in SILENT_NAMES)
        return {self._watches[n.watch] for n in named if n.watch in self._watches}

    def _forget_process(self, descriptor: int) -> None:
        self._epoll.unregister(descriptor)
        del self._pidfds[descriptor]
        os.close(descriptor)
