"""Ending what is left of an attempt: kill and look again, until nothing is found or the bound is reached.

The supervisor does it when the main process has ended; the server does it when a supervisor died. Where there is no
control group, one thing can escape the second: a process with a cleared environment that left its parents in the last
instant before the supervisor's death, unseen.
"""

from __future__ import annotations

import signal
import time

from stoker.domain.limits import UNKILLABLE_SECONDS
from stoker.rundir.identity import boot_id
from stoker.rundir.records import Survivor, read_process
from stoker.supervisor.containment import Group, remove_group
from stoker.supervisor.tree import Seen, Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stoker.rundir.layout import AttemptDir
    from stoker.supervisor.tree import Found

ROUNDS = 50
"""How often one step looks again while what it finds changes: a chain that hops on by forking is cut off so."""

QUIET_LOOKS = 3
"""How many looks in a row must find nothing where no child's end can be waited for."""

PAUSE_SECONDS = 0.005


class Sweep:
    """Kills a tree. `reap` takes the ends of the caller's own children and tells whether any child is left."""

    def __init__(self, tree: Tree, bound_seconds: float, reap: Callable[[], bool]) -> None:
        """Begin now: after `bound_seconds` what is left counts as unkillable."""
        self._tree, self._reap = tree, reap
        self._ends_at = time.monotonic() + bound_seconds

    def step(self) -> tuple[Survivor, ...] | None:
        """Kill what is there. None while something is left, then the survivors: none, or those past the bound."""
        found = self._look()
        for _ in range(ROUNDS):
            if found is None:
                return ()
            self._tree.strike(found, signal.SIGKILL)
            before, found = found, self._look()
            if before == found:
                break
        if found is None:
            return ()
        if time.monotonic() < self._ends_at:
            return None
        return tuple(Survivor(pid=s.pid, start=s.start, name=s.name, state=s.state) for s in found.values())

    def _look(self) -> Found | None:
        """Find what is left, None if it is proven that nothing is."""
        group = self._tree.group
        if group is not None and group.is_populated():
            group.kill()
        childless = not self._reap()
        found = self._tree.near()
        if found or not childless or (group is not None and group.is_populated()):
            return found
        return self._tree.search() or (None if self._tree.adopts else self._tree.chase() or None)


def end_leftovers(attempt: AttemptDir, nonce: str, bound_seconds: float = UNKILLABLE_SECONDS) -> tuple[Survivor, ...]:
    """End what is left of an attempt whose supervisor died, and name what would not die. Idempotent, blocks.

    Nothing is signalled that is not known to be the attempt's: after a reboot that is nothing at all.
    """
    trainer = read_process(attempt.trainer)
    records = [record for record in (read_process(attempt.supervisor), trainer) if record is not None]
    if any(record.boot != boot_id() for record in records):
        return ()
    seen = Seen(attempt.seen)
    if trainer is not None:
        seen.recall(trainer.pid, trainer.start)
    groups = [record.cgroup for record in records if record.cgroup is not None]
    survivors = _sweep(Tree(nonce, seen, Group(groups[-1]) if groups else None, adopts=False), bound_seconds)
    for path in {*groups, *(record.memory_group for record in records if record.memory_group is not None)}:
        remove_group(path)
    return survivors


def _sweep(tree: Tree, bound_seconds: float) -> tuple[Survivor, ...]:
    sweep = Sweep(tree, bound_seconds, reap=lambda: False)
    quiet = 0
    while quiet < QUIET_LOOKS:
        survivors = sweep.step()
        if survivors:
            return survivors
        quiet = 0 if survivors is None else quiet + 1
        time.sleep(PAUSE_SECONDS)
    return ()
