"""The supervisor's loop: everything that goes on for one attempt, whether or not a server is there."""

from __future__ import annotations

import os
import select
import signal
import time

from stoker.domain.limits import UNKILLABLE_SECONDS
from stoker.domain.policy import Signs, Verdict, judge
from stoker.domain.stop import StopKind
from stoker.rundir import wire
from stoker.rundir.journal import Journal, Note, Vitals
from stoker.rundir.layout import RunDir
from stoker.rundir.records import ExitRecord
from stoker.supervisor.clearing import Clearing
from stoker.supervisor.clocks import AwakeClock
from stoker.supervisor.containment import Containment, LaunchError
from stoker.supervisor.diagnostics import report_fault
from stoker.supervisor.ending import MOST_SURVIVORS, Ending, is_removed, read_outcome
from stoker.supervisor.environment import environment
from stoker.supervisor.kernel import give_back_code
from stoker.supervisor.ladder import Ladder
from stoker.supervisor.listener import Listener
from stoker.supervisor.logpump import LogPump
from stoker.supervisor.signals import Signals
from stoker.supervisor.trainer import Trainer
from stoker.supervisor.tree import Seen, Tree
from stoker.supervisor.watching import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stoker.domain.limits import Limits
    from stoker.rundir.layout import AttemptDir
    from stoker.rundir.records import Order, Survivor

LEAVE_SECONDS = 10.0
"""How long a supervisor stays for the server to take in the end, if one was heard of as recently."""

_SHORTEST_TICK, _LONGEST_TICK, _TICK_BEFORE_REPORT = 0.1, 1.0, 0.2
_LOOK_SHARE = 200
"""A look at the whole tree may take one part in so many of the processor's time, however large the tree is."""

_SHOW_SECONDS = 10.0
_AFTER_FAULT_SECONDS = 0.1


class Supervisor:
    """Owns one attempt: its process tree, its log, its clocks, its end."""

    def __init__(
        self,
        attempt: AttemptDir,
        order: Order,
        containment: Containment,
        unkillable_seconds: float = UNKILLABLE_SECONDS,
    ) -> None:
        """Open what is needed until the end; nothing runs yet. Raises `OSError` where that can't be had."""
        self._attempt, self._order, self._run = attempt, order, RunDir(attempt.run)
        self._unkillable_seconds = unkillable_seconds
        self._signals = Signals()
        self._journal, self._vitals = Journal(attempt.journal), Vitals(attempt.vitals)
        self._clock = AwakeClock()
        self._listener = Listener(wire.listen(attempt), order.nonce, self._answer)
        self._pump = LogPump(attempt.root, order.log_bytes, order.segment_bytes, self._note_dropped)
        self._watch = Watch(order, self._run, self._clock, self._journal.write)
        self._containment = containment
        self._tree = Tree(order.nonce, Seen(attempt.seen), None, adopts=True)
        self._ladder = Ladder(attempt, order, self._tree, self._clock, self._journal.write)
        self._clearing = Clearing(self._tree, order.limits, self._clock, self._reap)
        self._trainer = Trainer(order)
        self._opened_at = 0.0
        self._launch_error: str | None = None
        self._ending: Ending | None = None
        self._suspect: str | None = None
        self._shown: dict[str, object] = {}
        self._shown_at = self._next_tick = self._next_glance = 0.0
        self._heard_at = float("-inf")
        self._is_acknowledged = False
        self._epoll = select.epoll()
        for descriptor in (self._signals.fileno(), self._listener.fileno(), self._pump.reader):
            self._epoll.register(descriptor, select.EPOLLIN)

    def run(self) -> None:
        """See the attempt from its start to the exit record and the leave-taking."""
        try:
            self._start()
        except OSError:
            self._give_up_start()
            raise
        give_back_code()
        while self._ending is None or not self._ending.is_over:
            self._try_turn()
        self._containment.remove()
        self._take_leave()

    def _take_leave(self) -> None:
        """Stay until the server has taken in the end, if there is one near."""
        self._pump.close()
        until = self._clock.now + LEAVE_SECONDS
        while self._is_server_near() and self._clock.now < until:
            self._wait(until - self._clock.now)
        self._listener.close()
        if os.path.lexists(self._attempt.socket):
            os.unlink(self._attempt.socket)

    def _start(self) -> None:
        try:
            self._containment.make()
            self._hold_trainer()
            if self._is_wanted():
                self._trainer.let_in(environment(self._order, self._run.root))
        except LaunchError as error:
            self._launch_error = str(error)
        finally:
            self._pump.hand_on()
            self._trainer.refuse()
        self._clock.look(0.0)
        self._opened_at = self._clock.now
        self._watch.begin()

    def _hold_trainer(self) -> None:
        record = self._trainer.hold(self._attempt, self._containment, self._pump.writer)
        self._tree.group = self._containment.group
        trainer = {"pid": record.pid, "start": record.start, "cgroup": record.cgroup}
        self._journal.write(Note.STARTED, **trainer, supervisor=os.getpid())
        self._epoll.register(self._trainer.report, select.EPOLLIN)

    def _give_up_start(self) -> None:
        """Leave nothing of a start for which this machine lacks something; the server sees the death and retries."""
        while self._reap():  # a process that waited ends, now that it was refused
            time.sleep(_AFTER_FAULT_SECONDS)
        self._containment.remove()

    def _is_wanted(self) -> bool:
        """Tell whether nobody asked for a stop while the trainer was being made ready."""
        self._hear_signals()
        self._ladder.read_request()
        return self._ladder.stop.kind is None

    def _try_turn(self) -> None:
        try:
            self._turn()
        except Exception:  # noqa: BLE001  the edge of the loop: one failed turn must not leave the tree unowned
            report_fault()
            time.sleep(_AFTER_FAULT_SECONDS)

    def _turn(self) -> None:
        """Every duty once, ends before beginnings."""
        self._wait(self._due_at() - self._clock.now)
        self._take_output()
        self._follow_gate()
        self._reap()
        if self._clock.now >= self._next_tick:
            self._tick()
        if self._trainer.is_running:
            self._judge()
            self._climb()
        self._clear_tree()
        self._record_end()
        self._show()

    def _wait(self, seconds: float) -> None:
        pause = max(0.0, seconds)
        ready = [descriptor for descriptor, _ in self._epoll.poll(pause)]
        self._clock.look(pause)
        for descriptor in ready:
            if descriptor == self._listener.fileno():
                for peer in self._listener.welcome():
                    self._epoll.register(peer, select.EPOLLIN)
            elif self._listener.knows(descriptor):
                self._listener.hear(descriptor)
        self._hear_signals()

    def _due_at(self) -> float:
        """Give the time of the next turn that nothing but time calls for."""
        if self._ending is not None:
            return self._ending.retry_at
        due = self._next_tick
        if self._trainer.is_running:
            due = min(due, self._ladder.due_at(self._watch))
        if self._clearing.is_killing or self._trainer.has_ended:
            due = min(due, self._clearing.due_at())
        return due

    def _hear_signals(self) -> None:
        if signal.SIGTERM in self._signals.take():
            # The machine or the session ends, and nobody asked for a cancel: the work goes on in another attempt.
            self._ladder.request(StopKind.SHUTDOWN)

    def _take_output(self) -> None:
        if self._pump.has_ended:
            return
        if self._pump.pump():
            self._watch.hear_output()
        if self._pump.has_ended:
            self._epoll.unregister(self._pump.reader)

    def _follow_gate(self) -> None:
        if self._trainer.follow() and self._trainer.has_executed:
            self._watch.begin()
            self._journal.write(Note.EXECUTED)
            # The main process first, then what it forked while the kernel took its time to move it.
            self._containment.count_kills_of([self._trainer.pid])
            self._containment.count_kills_of(self._tree.near())

    def _reap(self) -> bool:
        """Take the ends of children, adopted ones too; tell whether any child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self._ladder.take_end(pid)
            if pid == self._trainer.pid and not self._trainer.has_ended:
                self._trainer.end(status)
                self._follow_gate()
                exit_code, number = self._trainer.exit_code, self._trainer.signal
                self._journal.write(Note.EXITED, exit_code=exit_code, signal=number)

    def _tick(self) -> None:
        """Look at everything that does not announce itself."""
        awaits_report = self._order.reports and not self._watch.reported
        age = self._clock.now - self._opened_at
        self._next_tick = self._clock.now + tick_seconds(self._order.limits, age, awaits_report=awaits_report)
        self._ladder.read_request()
        if is_removed(self._attempt):  # nobody can stop it any more, nor learn how it ends
            self._clearing.kill(self._unkillable_seconds)
        if not self._trainer.is_running:
            return
        self._watch.look()
        if self._clock.now >= self._next_glance:
            began_at = time.process_time()
            self._tree.near()  # remembers what it finds
            spent = time.process_time() - began_at
            self._next_glance = self._clock.now + spent * _LOOK_SHARE

    def _judge(self) -> None:
        if self._ladder.stop.kind is not None:
            return
        verdict = self._reach_verdict()
        if verdict.stop is not None:
            self._watch.look()  # what was reported since the last tick counts
            verdict = self._reach_verdict()
        if verdict.suspect != self._suspect:
            self._suspect = verdict.suspect
            self._journal.write(Note.SUSPECT, text=verdict.suspect)
        if verdict.stop is not None:
            self._ladder.request(verdict.stop, verdict.limit)

    def _reach_verdict(self) -> Verdict:
        signs = Signs(
            now=self._clock.now,
            executed_at=self._opened_at,
            reported=self._watch.reported or not self._order.reports,
            phase=self._watch.phase,
            progress_at=self._watch.progress_at,
            watched_by=self._watch.watched_by,
        )
        return judge(signs, self._order.limits)

    def _climb(self) -> None:
        if self._clearing.is_killing:
            return
        if self._clock.now >= self._ladder.due_at(self._watch):
            self._watch.look()  # saving that advances puts the next step off
        if self._ladder.climb(self._watch):
            self._clearing.kill(self._unkillable_seconds)

    def _clear_tree(self) -> None:
        if self._ending is not None or not (self._clearing.is_killing or self._trainer.has_ended):
            return
        survivors = self._clearing.step(self._ladder.stop, self._unkillable_seconds)
        if survivors is None:
            return
        milliseconds = self._trainer.milliseconds_since_end
        self._journal.write(Note.EMPTY, milliseconds=milliseconds, survivors=len(survivors))
        evidence = [self._attempt.journal, self._run.metrics, *self._pump.finish()]
        record = self._describe_end(survivors[:MOST_SURVIVORS], milliseconds)
        self._ending = Ending(self._attempt, record, evidence)

    def _describe_end(self, survivors: tuple[Survivor, ...], milliseconds: float) -> ExitRecord:
        trainer, stop = self._trainer, self._ladder.stop
        exit_code = trainer.exit_code
        return ExitRecord(
            nonce=self._order.nonce,
            at=time.time(),
            exit_code=exit_code,
            signal=trainer.signal,
            executed=trainer.has_executed,
            reported=self._watch.reported,
            stop=stop.kind,
            stop_sent=stop.was_sent,
            stop_step=stop.step,
            stop_limit=stop.limit,
            launch_error=self._launch_error or trainer.launch_error,
            out_of_memory=exit_code != 0 and self._containment.saw_memory_kill(),
            survivors=survivors,
            outcome=read_outcome(self._run),
            phase=self._watch.phase,
            log_bytes=self._pump.bytes,
            milliseconds=milliseconds,
        )

    def _record_end(self) -> None:
        if self._ending is not None:
            self._ending.write(self._clock.now)

    def _show(self) -> None:
        """Show what is seen now, if it is news or was not shown for long."""
        vitals = self._see()
        if vitals != self._shown or self._clock.now - self._shown_at >= _SHOW_SECONDS:
            self._shown, self._shown_at = vitals, self._clock.now
            self._vitals.show({"t": self._clock.boot, **vitals})

    def _see(self) -> dict[str, object]:
        watch, stop = self._watch, self._ladder.stop
        return {
            "phase": watch.phase,
            "watched_by": watch.watched_by,
            "suspect": self._suspect,
            "heartbeat_at": watch.heartbeat_boot,
            "progress_at": watch.progress_boot,
            "stop": stop.kind,
            "stop_step": stop.step,
            "pid": self._trainer.pid if self._trainer.is_running else None,
            "reported": watch.reported,
            "executed": self._trainer.has_executed,
            "bad_lines": watch.bad_lines,
        }

    def _answer(self, verb: str) -> dict[str, object]:
        """Answer a peer's verb."""
        self._heard_at = self._clock.now
        match verb:
            case "hello":
                return {"attempt_id": self._order.attempt_id}
            case "inspect":
                return {"t": self._clock.boot, **self._see(), "log_bytes": self._pump.bytes}
            case "stop":
                self._ladder.read_request()
                return {"stop": self._ladder.stop.kind}
            case "ack":
                self._is_acknowledged = self._ending is not None and self._ending.is_written
                return {"acknowledged": self._is_acknowledged}
        return {"error": f"There is no verb {verb[:40]!r}"}

    def _is_server_near(self) -> bool:
        return not self._is_acknowledged and self._clock.now - self._heard_at < LEAVE_SECONDS

    def _note_dropped(self, count: int) -> None:
        self._journal.write(Note.DROPPED, bytes=count)


def tick_seconds(limits: Limits, age: float, *, awaits_report: bool) -> float:
    """Give how often to look: within a tenth of the shortest limit, soon for the first report, and often at first.

    `age` is the time since the start: a tree grows then, and what was never seen can't be remembered.
    """
    given = (limits.stall_seconds, limits.start_seconds, limits.time_limit_seconds, *limits.phase_seconds.values())
    shortest = min((limit / 10 for limit in given if limit is not None), default=_LONGEST_TICK)
    longest = _TICK_BEFORE_REPORT if awaits_report else _LONGEST_TICK
    return max(_SHORTEST_TICK, min(shortest, longest, age))
