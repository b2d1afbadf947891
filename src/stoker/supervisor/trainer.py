"""The main process of an attempt as its parent knows it: held at the gate, running, ended."""

from __future__ import annotations

import os
import time

from stoker.rundir.durable import fsync_dir, replace, settle
from stoker.rundir.identity import boot_id, read_stat
from stoker.rundir.records import ProcessRecord, encode
from stoker.supervisor.gate import BROKEN, Gate, explain, fork_held

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stoker.rundir.layout import AttemptDir
    from stoker.rundir.records import Order
    from stoker.supervisor.containment import Containment


class Trainer:
    """The main process, from the gate to its end. Before it is held it counts as ended, with nothing to tell."""

    def __init__(self, order: Order) -> None:
        """Begin with no process."""
        self._order = order
        self._gate: Gate | None = None
        self._was_heard = False
        self._status: int | None = None
        self._ended_at = 0.0
        self.pid = -1
        self.was_let_in = False
        self.launch_error: str | None = None

    def hold(self, attempt: AttemptDir, containment: Containment, log: int) -> ProcessRecord:
        """Fork it, contain it and put it on record, before it runs a single instruction of the job.

        Raises `OSError` or `LaunchError`; what was forked then ends by itself once it is refused.
        """
        self._gate = fork_held(log, containment.group.path if containment.group is not None else None)
        self.pid = self._gate.pid
        if not self._gate.is_in_group:
            containment.take_in(self.pid)
        group = containment.group.path if containment.group is not None else None
        record = describe(self.pid, self._order, group, containment.counting_path)
        replace(attempt.trainer, encode(record))
        # The claim and the supervisor's own record become durable with it, before anything of the job runs.
        settle([attempt.claim, attempt.supervisor, attempt.trainer])
        fsync_dir(attempt.root)
        return record

    def let_in(self, environment: dict[str, str]) -> None:
        """Open the gate: it becomes the job's own program."""
        assert self._gate is not None  # noqa: S101  for the type checker: only what is held can be let in
        self.was_let_in = True
        self._gate.open(self._order.argv, environment, self._order.cwd)

    def refuse(self) -> None:
        """Shut the gate; a process that still waits there ends without having run anything."""
        if self._gate is not None:
            self._gate.shut()

    @property
    def report(self) -> int:
        """The descriptor that is readable when there is something to `follow`."""
        assert self._gate is not None  # noqa: S101  for the type checker: only what is held reports
        return self._gate.report

    def follow(self) -> bool:
        """Hear how it gets through the gate, without waiting; True when that is settled just now."""
        if self._gate is None or self._was_heard or not self._gate.hear():
            return False
        self._was_heard = True
        os.close(self._gate.report)
        if self._gate.failure is not None:
            self.launch_error = explain(self._gate.failure, self._order.argv, self._order.cwd)
        return True

    def end(self, status: int) -> None:
        """Take in its end, a status of `waitpid`."""
        self._status, self._ended_at = status, time.monotonic()

    @property
    def is_running(self) -> bool:
        """Tell whether it was let in and has not ended."""
        return self.was_let_in and not self.has_ended

    @property
    def has_ended(self) -> bool:
        """Tell whether its end was taken in, or it never was."""
        return self._gate is None or self._status is not None

    @property
    def has_executed(self) -> bool:
        """Tell whether it runs the job's own program, or did."""
        return self._was_heard and self._gate is not None and self._gate.has_passed

    @property
    def exit_code(self) -> int | None:
        """Its exit code, None for a signal or while there is none; a process that only waited has none."""
        if self._status is None or not os.WIFEXITED(self._status):
            return None
        code = os.WEXITSTATUS(self._status)
        return None if code == BROKEN and not self.has_executed else code

    @property
    def signal(self) -> int | None:
        """The number of the signal that ended it, None if none did."""
        return os.WTERMSIG(self._status) if self._status is not None and os.WIFSIGNALED(self._status) else None

    @property
    def milliseconds_since_end(self) -> float:
        """How long ago it ended; 0 if it has not."""
        return 0.0 if self._status is None else 1000 * (time.monotonic() - self._ended_at)


def describe(pid: int, order: Order, group: str | None, counting_group: str | None) -> ProcessRecord:
    """Give the record of a live process of this attempt. Raises `ProcessLookupError` if there is none."""
    stat = read_stat(pid)
    if stat is None:
        raise ProcessLookupError(pid)
    return ProcessRecord(
        boot=boot_id(),
        pid=pid,
        start=stat.start,
        nonce=order.nonce,
        cgroup=group,
        memory_group=counting_group,
    )
