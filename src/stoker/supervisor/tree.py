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
        members = self.group.members() if self.group is not None else []
        roots = [*members, *self._seen.living(), *(children(os.getpid()) if self.adopts else ())]
        return self._found(roots)

    def search(self) -> Found:
        """Find by the mark, at the cost of a look at every process of the machine; with what descends from those."""
        return self._found([pid for pid in all_pids() if self._is_marked(pid)])

    def chase(self) -> Found:
        """Look at the newest processes only, again and again, for a marked one that forks on faster than any search.

        A chain of such is always among the newest.
        """
        last = 0
        for _ in range(_CHASES):
            newest = _newest_pid()
            if newest != last and self._is_marked(newest):
                return self._found([newest])
            last = newest
        return {}

    def strike(self, found: Found, number: int) -> None:
        """Signal each of these processes, if it still is the one that was found."""
        boot = boot_id()
        for stat in found.values():
            self._send(ProcessId(boot, stat.pid, stat.start), number)

    def _found(self, roots: Iterable[int]) -> Found:
        found = descendants(roots, self.spared | {os.getpid(), 0, 1})
        self._seen.add(found.values())
        return found

    def _is_marked(self, pid: int) -> bool:
        if pid == os.getpid():
            return False
        stat = read_stat(pid)
        # What hangs in the kernel may hold the lock that a reader of its environment needs, for ever.
        return stat is not None and stat.is_alive and stat.state != "D" and carries_mark(pid, self._nonce)


def descendants(roots: Iterable[int], spared: set[int]) -> Found:
    """Give the living among `roots` and their descendants, without those in `spared` and what is below them."""
    found: Found = {}
    waiting, visited = list(roots), set(spared)
    while waiting:
        pid = waiting.pop()
        if pid in visited:
            continue
        visited.add(pid)
        stat = read_stat(pid)
        if stat is not None and stat.is_alive:
            found[pid] = stat
            waiting += children(pid)
    return found


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
