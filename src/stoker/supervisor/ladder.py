"""The stop ladder on a living trainer: ask, terminate, kill; a hang leaves its stacks first."""

from __future__ import annotations

import os
import signal
import time

from stoker.domain.stop import StopKind, StopStep
from stoker.rundir.journal import Note
from stoker.rundir.layout import RunDir
from stoker.supervisor.stacks import DUMP_SECONDS, start_dump
from stoker.supervisor.stopping import Stop, StopFile, ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stoker.rundir.layout import AttemptDir
    from stoker.rundir.records import Order
    from stoker.supervisor.clocks import AwakeClock
    from stoker.supervisor.tree import Tree
    from stoker.supervisor.watching import Watch

_HANGS = frozenset({StopKind.STALLED, StopKind.START_TIMEOUT})


class Ladder:
    """Takes in stop requests, from wherever they come, and carries out the step that is due."""

    def __init__(
        self, attempt: AttemptDir, order: Order, tree: Tree, clock: AwakeClock, note: Callable[..., None]
    ) -> None:
        """Begin with nothing asked."""
        self._attempt, self._run, self._py_spy = attempt, RunDir(attempt.run), order.py_spy
        self._tree, self._clock, self._note = tree, clock, note
        self._file = StopFile(attempt, order.epoch)
        self._dump: int | None = None
        self._dump_ends_at = 0.0
        self._dump_is_over = False
        self.stop = Stop(order.limits)

    def request(self, kind: StopKind, limit: float = 0.0) -> None:
        """Take a request; one that outranks an earlier one goes on from the step that was reached."""
        if self.stop.request(kind, limit) and self.stop.asked_at is not None and self.stop.terminated_at is None:
            ask(self._run, kind, time.time())

    def read_request(self) -> None:
        """Take the server's request, if there is a new one."""
        kind = self._file.look()
        if kind is not None:
            self.request(kind)

    def climb(self, watch: Watch) -> bool:
        """Carry out the step that is due; True once it is the kill, which is the sweep's."""
        can_ask = watch.can_save and watch.reported
        step = self.stop.next_step(self._clock.now, can_ask=can_ask, saving_at=watch.saving_at)
        if self.stop.kind is None or step is StopStep.WAIT or not self._has_evidence(self.stop.kind):
            return False
        if step is StopStep.ASK and not ask(self._run, self.stop.kind, time.time()):
            step = StopStep.TERMINATE
        if step is StopStep.TERMINATE:
            self._terminate()
        self.stop.take(step, self._clock.now)
        self._note(Note.STOP, kind=self.stop.kind, step=step)
        return step is StopStep.KILL

    def due_at(self, watch: Watch) -> float:
        """Give the time of the next step, infinity if none is due by time alone."""
        if self._dump is not None and not self._dump_is_over:
            return self._dump_ends_at
        due = self.stop.due_at(self._clock.now, saving_at=watch.saving_at)
        if self.stop.kind is not None and self.stop.step is None:
            return self._clock.now
        return float("inf") if due is None else due

    def take_end(self, pid: int) -> None:
        """Take in that a child of the supervisor ended, which may be the one that dumps the stacks."""
        self._dump_is_over = self._dump_is_over or pid == self._dump

    def _has_evidence(self, kind: StopKind) -> bool:
        """Tell whether the stacks of a hang are written, or nothing hangs; a dump that takes too long is ended."""
        if kind not in _HANGS:
            return True
        if self._dump is None:
            self._begin_dump()
        elif not self._dump_is_over and self._clock.now >= self._dump_ends_at:
            os.kill(self._dump, signal.SIGKILL)  # our own child, whose end was not taken in yet
            self._dump_is_over = True
        return self._dump_is_over

    def _begin_dump(self) -> None:
        found = list(self._tree.near().values())
        self._dump_ends_at = self._clock.now + DUMP_SECONDS
        try:
            self._dump = start_dump(self._attempt.stacks, self._run, found, self._py_spy)
        except OSError:  # evidence is not worth a hang that is never ended
            self._dump, self._dump_is_over = -1, True
            return
        self._tree.spared.add(self._dump)
        self._note(Note.STACKS, processes=len(found))

    def _terminate(self) -> None:
        """Send TERM to the whole tree, then CONT: on a stopped process TERM alone would stay pending."""
        found = self._tree.near()
        self._tree.strike(found, signal.SIGTERM)
        self._tree.strike(found, signal.SIGCONT)
