"""Clearing the tree once the main process has ended or is to be killed."""

from __future__ import annotations

import signal

from stoker.supervisor.sweep import Sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stoker.domain.limits import Limits
    from stoker.rundir.records import Survivor
    from stoker.supervisor.clocks import AwakeClock
    from stoker.supervisor.stopping import Stop
    from stoker.supervisor.tree import Found, Tree

LEFTOVER_SECONDS = 5.0
"""How long processes that outlive the main one may take to end after a SIGTERM, when nobody asked for a stop."""

_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 0.001, 0.05


class Clearing:
    """Lets what outlived the main process end by itself for a moment, then kills until nothing is left.

    After a SIGTERM the whole tree has its grace period, also where the main process was only a wrapper that ended
    at once: what it wrapped may be saving the work.
    """

    def __init__(self, tree: Tree, limits: Limits, clock: AwakeClock, reap: Callable[[], bool]) -> None:
        """Take the tree, and `reap`, which takes the ends of children and tells whether any is left."""
        self._tree, self._limits, self._clock, self._reap = tree, limits, clock, reap
        self._sweep: Sweep | None = None
        self._leave_until: float | None = None
        self._pause = _FIRST_PAUSE_SECONDS

    @property
    def is_killing(self) -> bool:
        """Tell whether the kill has begun."""
        return self._sweep is not None

    def kill(self, bound_seconds: float) -> None:
        """Begin to kill; what lives after `bound_seconds` is a survivor."""
        if self._sweep is None:
            self._tree.spared.clear()
            self._sweep = Sweep(self._tree, bound_seconds, self._reap)

    def step(self, stop: Stop, bound_seconds: float) -> tuple[Survivor, ...] | None:
        """Go on clearing. None while something is left, else the survivors: none, or those that would not die."""
        if self._sweep is None and self._may_kill(stop):
            self.kill(bound_seconds)
        self._pause = min(2 * self._pause, _LAST_PAUSE_SECONDS)
        return None if self._sweep is None else self._sweep.step()

    def due_at(self) -> float:
        """Give the time of the next look."""
        return self._clock.now + self._pause

    def _may_kill(self, stop: Stop) -> bool:
        found = self._tree.near() if self._reap() or self._is_populated() else {}
        if not found:
            return True
        if self._leave_until is None:
            self._leave_until = self._begin_leave(stop, found)
        return self._clock.now >= self._leave_until

    def _is_populated(self) -> bool:
        return self._tree.group is not None and self._tree.group.is_populated()

    def _begin_leave(self, stop: Stop, found: Found) -> float:
        if stop.terminated_at is not None:
            return stop.terminated_at + self._limits.grace_seconds
        self._tree.strike(found, signal.SIGTERM)
        self._tree.strike(found, signal.SIGCONT)
        return self._clock.now + min(self._limits.grace_seconds, LEFTOVER_SECONDS)
