"""Attempts for tests: a real directory, a real order, a real supervisor, and ways to look at what they did."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid

from stoker.domain.limits import Limits
from stoker.engines.spawn import supervisor_argv
from stoker.rundir import logfiles, wire
from stoker.rundir.claim import is_locked
from stoker.rundir.durable import replace, write_durably
from stoker.rundir.identity import all_pids, carries_mark, is_alive, read_proc, read_stat, send_signal
from stoker.rundir.journal import read_vitals
from stoker.rundir.layout import AttemptDir, RunDir
from stoker.rundir.records import ExitRecord, Order, StopRecord, encode, read_exit, read_process
from stoker.supervisor.sweep import end_leftovers
from tests.waiting import wait_until

PYTHON = (sys.executable, "-I", "-S", "-u", "-c")


def python(code: str) -> tuple[str, ...]:
    """Give the command that runs `code`, fast to start."""
    return (*PYTHON, textwrap.dedent(code))


def processor_seconds(pid: int) -> float:
    """Give the processor time that a process has used."""
    fields = read_proc(f"{pid}/stat").rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Attempt:
    """One attempt directory, with what a server would do to it."""

    def __init__(self, root: str, argv: tuple[str, ...], **order) -> None:
        self.nonce = str(uuid.uuid4())
        identifier = str(uuid.uuid4())
        self.directory = AttemptDir(os.path.join(root, identifier))
        self.run = RunDir(self.directory.run)
        os.makedirs(self.run.root, mode=0o700)
        limits = order.pop("limits", None) or Limits()
        fields = {"env": {"PATH": os.environ["PATH"]}, "epoch": 1, "number": 1, "home_id": "home", "job_id": "job"}
        self.order = Order(attempt_id=identifier, nonce=self.nonce, argv=argv, limits=limits, **{**fields, **order})
        write_durably(self.directory.order, encode(self.order))

    @property
    def command(self) -> tuple[str, ...]:
        return supervisor_argv(self.directory.root, self.order.attempt_id)

    def start(self) -> "Attempt":
        """Start the supervisor, detached as a server does it."""
        subprocess.run(self.command, check=True, stdin=subprocess.DEVNULL, timeout=30)
        return self

    def in_foreground(self, **options) -> subprocess.Popen:
        """Start the supervisor as a child of the test, whose exit status can be seen."""
        command = (*self.command[:-1], "--foreground", self.command[-1])
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)

    def exit(self, seconds: float = 30.0) -> ExitRecord:
        """Wait for the exit record."""
        return wait_until(lambda: read_exit(self.directory.exit), seconds, f"the exit record: {self.diagnostics}")

    def result(self, seconds: float = 30.0) -> ExitRecord:
        """Start, wait for the end, and give the exit record."""
        return self.start().exit(seconds)

    @property
    def diagnostics(self) -> str:
        """What the supervisor complained of."""
        try:
            with open(self.directory.diagnostics) as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def notes(self, note: str) -> list[dict]:
        """Give the lines of one kind from the journal."""
        try:
            with open(self.directory.journal, "rb") as file:
                lines = [json.loads(line) for line in file.read().split(b"\n")[:-1]]
        except FileNotFoundError:
            return []
        return [line for line in lines if line["note"] == note]

    def wait_for(self, note: str, seconds: float = 20.0, **fields) -> dict:
        """Wait for a line of the journal of this kind and with these fields."""

        def find():
            return [line for line in self.notes(note) if fields.items() <= line.items()]

        return wait_until(find, seconds, f"the note {note} {fields}: {self.diagnostics}")[0]

    def log(self) -> bytes:
        """Give the whole log that is kept."""
        return logfiles.read_bytes(self.directory.root, 0, logfiles.end_byte(self.directory.root))[1]

    def wait_for_log(self, text: bytes, seconds: float = 20.0) -> bytes:
        """Wait until the log holds `text`, and give the log."""
        wait_until(lambda: text in self.log(), seconds, f"{text!r} in the log: {self.diagnostics}")
        return self.log()

    def vitals(self) -> dict:
        """Give what the supervisor shows."""
        return wait_until(lambda: read_vitals(self.directory.vitals))

    def stop(self, kind: str, *, epoch: int = 1, tell: bool = True) -> None:
        """Ask for a stop, as a server does."""
        record = StopRecord(kind=kind, who="test", why="because", at=time.time(), epoch=epoch)
        write_durably(self.directory.stop, encode(record))
        if tell:
            self.ask("stop")

    def ask(self, verb: str, seconds: float = 5.0) -> dict | None:
        """Ask the supervisor over its socket."""
        return wire.ask(self.directory, verb, self.nonce, timeout=seconds)

    def supervisor(self):
        """Give the identity of the supervisor, once it is on record."""
        return wait_until(lambda: read_process(self.directory.supervisor), why=self.diagnostics).who

    def trainer(self):
        """Give the identity of the main process, once it is on record."""
        return wait_until(lambda: read_process(self.directory.trainer), why=self.diagnostics).who

    def signal_supervisor(self, number: int) -> None:
        """Signal the supervisor."""
        assert send_signal(self.supervisor(), number)

    def kill_supervisor(self) -> None:
        """Kill the supervisor and wait until it is dead."""
        who = self.supervisor()
        send_signal(who, signal.SIGKILL)
        wait_until(lambda: not is_alive(who) and not is_locked(self.directory))

    def marked(self) -> list[int]:
        """List the living processes that carry the attempt's mark."""
        found = {pid: read_stat(pid) for pid in all_pids() if carries_mark(pid, self.nonce)}
        return [pid for pid, stat in found.items() if stat is not None and stat.is_alive]

    def report(self, **line) -> None:
        """Append a line to the metrics, as a trainer does."""
        with open(self.run.metrics, "a") as file:
            file.write(json.dumps(line) + "\n")

    def write_progress(self, **fields) -> None:
        """Replace progress.json, as the original's trainers do."""
        replace(self.run.progress, json.dumps(fields).encode())

    def clean_up(self) -> None:
        """End everything of this attempt, whatever a failed test left."""
        self.ask("ack", seconds=1.0)
        supervisor = read_process(self.directory.supervisor)
        if supervisor is not None:
            send_signal(supervisor.who, signal.SIGCONT)
            if read_exit(self.directory.exit) is None:
                send_signal(supervisor.who, signal.SIGKILL)
            wait_until(lambda: not is_alive(supervisor.who), 15.0, "the supervisor's end")
        end_leftovers(self.directory, self.nonce, 10.0)
        assert self.marked() == []
