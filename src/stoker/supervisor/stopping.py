"""A stop that is being carried out: who asked, how far the ladder is, and whether it reached the trainer."""

from __future__ import annotations

import json
import os

from stoker.domain.limits import UNKILLABLE_SECONDS
from stoker.domain.policy import StopSigns, asking_ends, next_stop_step
from stoker.domain.stop import StopKind, StopStep, outranks
from stoker.rundir.durable import read_regular, replace
from stoker.rundir.records import read_stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stoker.domain.limits import Limits
    from stoker.rundir.layout import AttemptDir, RunDir

_KINDS = {kind.value: kind for kind in StopKind}
_FENCE_BYTES = 64


class Stop:
    """One stop request and its steps. Times are on the clock of the caller, `None` for what has not happened."""

    def __init__(self, limits: Limits) -> None:
        """Begin with nothing asked."""
        self._limits = limits
        self.kind: StopKind | None = None
        self.limit = 0.0
        self.step: StopStep | None = None
        self.asked_at: float | None = None
        self.terminated_at: float | None = None
        self.killed_at: float | None = None

    @property
    def was_sent(self) -> bool:
        """Tell whether any step reached the trainer."""
        return self.step is not None

    def request(self, kind: StopKind, limit: float = 0.0) -> bool:
        """Take a request; False if it changes nothing, because an earlier one stands."""
        if self.kind is not None and not outranks(kind, self.kind):
            return False
        self.kind, self.limit = kind, limit
        return True

    def next_step(self, now: float, *, can_ask: bool, saving_at: float | None) -> StopStep:
        """Give what is to be done now."""
        signs = self._signs(now, can_ask=can_ask, saving_at=saving_at)
        return StopStep.WAIT if signs is None else next_stop_step(signs, self._limits)

    def take(self, step: StopStep, now: float) -> None:
        """Note that a step was carried out on a living trainer."""
        self.step = step
        match step:
            case StopStep.ASK:
                self.asked_at = now
            case StopStep.TERMINATE:
                self.terminated_at = now
            case StopStep.KILL:
                self.killed_at = now

    def due_at(self, now: float, *, saving_at: float | None) -> float | None:
        """Give the time of the next step, `None` if nothing is due by time alone."""
        if self.killed_at is not None:
            return self.killed_at + UNKILLABLE_SECONDS
        if self.terminated_at is not None:
            return self.terminated_at + self._limits.grace_seconds
        signs = self._signs(now, can_ask=False, saving_at=saving_at)
        return None if signs is None or self.asked_at is None else asking_ends(signs, self._limits)

    def _signs(self, now: float, *, can_ask: bool, saving_at: float | None) -> StopSigns | None:
        if self.kind is None:
            return None
        return StopSigns(
            now=now,
            kind=self.kind,
            can_ask=can_ask,
            asked_at=self.asked_at,
            saving_at=saving_at,
            terminated_at=self.terminated_at,
            killed_at=self.killed_at,
        )


class StopFile:
    """The server's stop request on disk; what was read is read again only when it changed."""

    def __init__(self, attempt: AttemptDir, epoch: int) -> None:
        """Take the epoch of the order, below which nothing is obeyed either."""
        self._attempt, self._epoch = attempt, epoch
        self._version: tuple[int, int] | None = None

    def look(self) -> StopKind | None:
        """Give the request if there is a new one that is whole, known and of an owner who was not replaced."""
        try:
            found = os.lstat(self._attempt.stop)
        except OSError:
            return None
        version = (found.st_ino, found.st_mtime_ns)
        if version == self._version:
            return None
        record = read_stop(self._attempt.stop)
        if record is None:  # it may be for want of descriptors or memory, so it is read again
            return None
        self._version = version
        if record.epoch < max(self._epoch, self._fence()):
            return None
        return _KINDS.get(record.kind)

    def _fence(self) -> int:
        text = (read_regular(self._attempt.fence, _FENCE_BYTES) or b"").strip()
        return int(text) if text.isdigit() else 0


def ask(run: RunDir, kind: StopKind, at: float) -> bool:
    """Ask the trainer to save and end, in words that it finds; False if they could not be left."""
    try:
        replace(run.control, json.dumps({"stop": kind, "at": at}).encode() + b"\n")
    except OSError:
        return False
    return True
