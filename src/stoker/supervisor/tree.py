"""The processes of one attempt, found by every net there is: ancestry, control group, mark and memory."""

from __future__ import annotations

import os

from stoker.rundir.durable import read_regular, replace, write_all
from stoker.rundir.identity import (
    ProcessId,
    ProcessStat,
    all_pids,
    boot_id,
    carries_mark,
    read_proc,
    read_stat,
    send_signal,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stoker.supervisor.containment import Group

    Found = dict[int, ProcessStat]

COMPACT_BYTES = 1 << 16
_CHASES = 200


class Seen:
    """Remembers the processes of an attempt in a file, so that they are found after the supervisor's own death.

    The first line is the id of the boot, each other one `pid start`. A disk that is full only costs that memory.
    """

    def __init__(self, path: str) -> None:
        """Load what an earlier process remembered, if there is anything of this boot."""
        self._path = path
        self._starts = _load(path)
        self._bytes = COMPACT_BYTES

    def add(self, found: Iterable[ProcessStat]) -> None:
        """Remember processes; only new ones cost a write."""
        new = [one for one in found if self._starts.get(one.pid) != one.start]
        if not new:
            return
        self._starts.update((one.pid, one.start) for one in new)
        lines = b"".join(b"%d %d\n" % (one.pid, one.start) for one in new)
        try:
            self._append(lines)
        except OSError:
            return

    def recall(self, pid: int, start: int) -> None:
        """Take in a process that is known from another record."""
        self._starts.setdefault(pid, start)

    def living(self) -> Found:
        """Give those that still live; the others are forgotten."""
        now = {pid: read_stat(pid) for pid in self._starts}
        found = {pid: stat for pid, stat in now.items() if stat is not None and stat.start == self._starts[pid]}
        self._starts = {pid: stat.start for pid, stat in found.items()}
        return {pid: stat for pid, stat in found.items() if stat.is_alive}

    def _append(self, lines: bytes) -> None:
        self._bytes += len(lines)
        if self._bytes > COMPACT_BYTES:
            lines = b"".join(b"%d %d\n" % one for one in self._starts.items())
            replace(self._path, boot_id().encode() + b"\n" + lines)
            self._bytes = len(lines)
            return
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            write_all(descriptor, lines)
        finally:
            os.close(descriptor)


class Tree:
    """Every process of one attempt but the caller itself.

    `adopts` says that the caller is the subreaper, so that all its children are the attempt's; those in `spared` and
    what descends from them are its own helpers. `send` signals one process by its identity.
    """

    def __init__(
        self,
        nonce: str,
        seen: Seen,
        group: Group | None,
        *,
        adopts: bool,
        send: Callable[[ProcessId, int], bool] = send_signal,
    ) -> None:
        """Take what the nets need."""
        self._nonce, self._seen, self.group = nonce, seen, group
        self.adopts, self._send = adopts, send
        self.spared: set[int] = set()

    def near(self) -> Found:
        """Find by ancestry, group and memory, at a cost that grows only with the tree."""
        own = stats_of_children(os.getpid()) if self.adopts else []
        return self._found([*self._members(), *self._seen.living().values(), *own])

    def search(self) -> Found:
        """Find by the mark, at the cost of a look at every process of the machine; with what descends from those."""
        return self._found([stat for stat in map(self._find_marked, all_pids()) if stat is not None])

    def chase(self) -> Found:
        """Look at the newest processes only, again and again, for a marked one that forks on faster than any search.

        A chain of such is always among the newest.
        """
        last = 0
        for _ in range(_CHASES):
            newest = _newest_pid()
            marked = self._find_marked(newest) if newest != last else None
            if marked is not None:
                return self._found([marked])
            last = newest
        return {}

    def strike(self, found: Found, number: int) -> None:
        """Signal each of these processes, if it still is the one that was found."""
        boot = boot_id()
        for stat in found.values():
            self._send(ProcessId(boot, stat.pid, stat.start), number)

    def _members(self) -> list[ProcessStat]:
        """Give what is in the group. What is listed there still, after it was identified, is no stranger."""
        if self.group is None:
            return []
        stats = [read_stat(pid) for pid in self.group.members()]
        listed = set(self.group.members()) if stats else set()
        return [stat for stat in stats if stat is not None and stat.pid in listed]

    def _found(self, roots: Iterable[ProcessStat]) -> Found:
        found = descendants(roots, self.spared | {os.getpid(), 0, 1})
        self._seen.add(found.values())
        return found

    def _find_marked(self, pid: int) -> ProcessStat | None:
        """Identify the process of this number if it carries the mark; before it is asked for it, and after."""
        stat = None if pid == os.getpid() else read_stat(pid)
        # What hangs in the kernel may hold the lock that a reader of its environment needs, for ever.
        if stat is None or not stat.is_alive or stat.state == "D" or not carries_mark(pid, self._nonce):
            return None
        return stat if _is_still_there(stat) else None


def descendants(roots: Iterable[ProcessStat], spared: set[int]) -> Found:
    """Give the living among `roots` and their descendants, without those in `spared` and what is below them.

    A number may be a stranger's by the time it is looked at, so what is below a process counts only if the process
    is its parent, and still the same one.
    """
    found: Found = {}
    waiting = list(roots)
    while waiting:
        stat = waiting.pop()
        if stat.pid in found or stat.pid in spared or not stat.is_alive:
            continue
        found[stat.pid] = stat
        below = stats_of_children(stat.pid)
        if below and _is_still_there(stat):
            waiting += below
    return found


def stats_of_children(pid: int) -> list[ProcessStat]:
    """Identify the direct children of a process, without what is no child of it any more."""
    stats = [read_stat(child) for child in children(pid)]
    return [stat for stat in stats if stat is not None and stat.parent == pid]


def _is_still_there(known: ProcessStat) -> bool:
    now = read_stat(known.pid)
    return now is not None and now.start == known.start


def children(pid: int) -> list[int]:
    """List the direct children of a process, those of all its threads; empty if it is gone."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return []
    if not _LISTS_CHILDREN:
        stats = (read_stat(other) for other in all_pids())
        return [stat.pid for stat in stats if stat is not None and stat.parent == pid]
    return [int(child) for thread in threads for child in read_proc(f"{pid}/task/{thread}/children").split()]


def _newest_pid() -> int:
    return int(read_proc("loadavg").split()[-1])


_LISTS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def _load(path: str) -> dict[int, int]:
    boot, *lines = (read_regular(path, 16 << 20) or b"").split(b"\n")
    if boot != boot_id().encode():
        return {}
    pairs = [line.partition(b" ")[::2] for line in lines[:-1]]  # the last line may be torn
    return {int(pid): int(start) for pid, start in pairs if pid.isdigit() and start.isdigit()}
