"""Engines for tests, what can be done to their attempts from outside, and orders to give them."""

import os
import signal
import sys
import textwrap
import uuid

from stoker.domain.limits import Limits
from stoker.engines.local import LocalEngine
from stoker.rundir.durable import write_durably
from stoker.rundir.identity import all_pids, carries_mark, is_alive, read_proc, read_stat, send_signal
from stoker.rundir.layout import AttemptDir
from stoker.rundir.records import Order, encode, read_exit, read_process
from tests.waiting import wait_until

PYTHON = (sys.executable, "-I", "-S", "-u", "-c")


def python(code):
    """Give the command that runs `code`, fast to start."""
    return (*PYTHON, textwrap.dedent(code))


def make_order(argv, **facts):
    """Give an order for a new attempt."""
    attempt_id = str(uuid.uuid4())
    plain = {
        "attempt_id": attempt_id,
        "job_id": "job-1",
        "number": 1,
        "nonce": attempt_id,
        "home_id": "home",
        "epoch": 1,
        "argv": tuple(argv),
        "env": {"PATH": os.environ["PATH"]},
        "limits": Limits(grace_seconds=0.5, checkpoint_seconds=0.5),
    }
    return Order(**(plain | facts))


class LocalBench:
    """The local engine, and the hands that tests lay on its attempts."""

    def __init__(self, folder):
        self.folder = folder / "attempts"
        self.engine = LocalEngine(self.folder)
        self.orders = []

    def plan(self, argv, *, files=None, **facts):
        """Plan a new attempt that runs `argv`."""
        order = make_order(argv, **facts)
        self.orders.append(order)
        return self.engine.plan(order, files or {})

    def launch(self, argv, **facts):
        """Launch a new attempt; give its id and its handle."""
        plan = self.plan(argv, **facts)
        return plan.attempt_id, self.engine.launch(plan)

    def another_engine(self):
        """Give the engine as a server that was started anew has it."""
        return LocalEngine(self.folder)

    def end_of(self, attempt_id, seconds=30.0):
        """Wait for the exit record."""
        return wait_until(self.engine.channel(attempt_id).exit, seconds, self.complaints(attempt_id))

    def lay_out(self, plan):
        """Do all that a launch does but for the start of the supervisor."""
        self.engine._write_directory(plan)

    def supervisor(self, attempt_id):
        """Give the identity of the supervisor, once it is known."""
        return wait_until(lambda: read_process(self.directory(attempt_id).supervisor)).who

    def freeze(self, attempt_id):
        """Stop the supervisor where it stands."""
        send_signal(self.supervisor(attempt_id), signal.SIGSTOP)

    def thaw(self, attempt_id):
        """Let the supervisor go on."""
        send_signal(self.supervisor(attempt_id), signal.SIGCONT)

    def kill(self, attempt_id):
        """Kill the supervisor, and nothing of its tree."""
        who = self.supervisor(attempt_id)
        send_signal(who, signal.SIGKILL)
        wait_until(lambda: not is_alive(who))

    def is_gone(self, attempt_id):
        """Tell whether the supervisor has ended."""
        return not is_alive(self.supervisor(attempt_id))

    def settle(self, attempt_id):
        """Wait until every launch of the attempt has come to something: a supervisor on record, or none any more."""
        wait_until(lambda: self.engine.news() is not None and not self.engine._starting)
        name = attempt_id.encode()
        wait_until(lambda: self._is_recorded(attempt_id) or not any(name in command for command in commands()))

    def _is_recorded(self, attempt_id):
        return read_process(self.directory(attempt_id).supervisor) is not None

    def handle_of_another_boot(self, handle):
        """Give the handle as if it had been made before the machine was started anew."""
        return {**handle, "boot": "an earlier boot"}

    def directory(self, attempt_id):
        """Give the records of an attempt."""
        return AttemptDir(str(self.folder / attempt_id))

    def complaints(self, attempt_id):
        """Give what the supervisor complained of."""
        try:
            with open(self.directory(attempt_id).diagnostics) as file:
                return file.read()
        except FileNotFoundError:
            return "the supervisor's start"

    def marked(self, attempt_id):
        """List the living processes of an attempt."""
        found = [read_stat(pid) for pid in all_pids() if carries_mark(pid, attempt_id)]
        return [stat.pid for stat in found if stat is not None and stat.is_alive]

    def close(self):
        """End everything that is left."""
        for order in self.orders:
            self._end(order.attempt_id)
        self.engine.close()

    def _end(self, attempt_id):
        directory = self.directory(attempt_id)
        record = read_process(directory.supervisor)
        if record is not None and is_alive(record.who):
            send_signal(record.who, signal.SIGCONT)
            if read_exit(directory.exit) is not None:
                self.engine.channel(attempt_id).acknowledge()
            else:
                send_signal(record.who, signal.SIGKILL)
            wait_until(lambda: not is_alive(record.who), why="the supervisor's end")
        self.engine.clean_up(attempt_id)
        assert self.marked(attempt_id) == []


ENGINES = {"local": LocalBench}
"""Every engine that there is. One more is one more line here, and a bench like the one above."""


def commands():
    """List the command lines of all processes."""
    return [read_proc(f"{pid}/cmdline") for pid in all_pids()]


def write_record(bench, attempt_id, name, record):
    """Put a record into an attempt's directory."""
    write_durably(bench.directory(attempt_id).path(name), encode(record))
