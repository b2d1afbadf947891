"""The supervisor's journal and its vitals: what it did and saw, and what it sees now."""

from __future__ import annotations

import json
import os
import time
from enum import StrEnum

from stoker.rundir.durable import parse_object, read_regular, write_all

VITALS_BYTES = 1024


class Note(StrEnum):
    """The kinds of lines in the journal."""

    STARTED = "started"
    """The main process exists, held at the gate: pid, start, cgroup, and the supervisor's own pid."""
    EXECUTED = "executed"
    """The main process passed the gate and runs the job's own program."""
    REPORTED = "reported"
    """The trainer's first report came: watched_by."""
    PHASE = "phase"
    """The trainer changed its phase: phase."""
    WATCH = "watch"
    """A better signal is watched from now on: watched_by."""
    SUSPECT = "suspect"
    """Something looks wrong, or no more: text or null."""
    STOP = "stop"
    """A step of a stop was taken: kind, step."""
    STACKS = "stacks"
    """Stacks were dumped into stacks.txt: how many processes."""
    EXITED = "exited"
    """The main process ended: exit_code or signal."""
    DROPPED = "dropped"
    """Log bytes were dropped to keep within the cap: bytes."""
    EMPTY = "empty"
    """The tree is gone: milliseconds since the main process ended."""


class Journal:
    """Appends lines to journal.jsonl. Lines are numbered from 0 and carry boot time `t` and wall time `at`.

    The journal is evidence and no verdict: a line that the disk won't take is passed over, and nothing is raised.
    """

    def __init__(self, path: str) -> None:
        """Open the journal for appending."""
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._next = 0
        self._torn = False

    def write(self, note: Note, **data: object) -> None:
        """Append one line; not synced. A line that was cut short before is ended first."""
        fields = {"seq": self._next, "t": boottime(), "at": time.time(), "note": note.value, **data}
        line = json.dumps(fields, separators=(",", ":")).encode() + b"\n"
        try:
            write_all(self._descriptor, b"\n" + line if self._torn else line)
        except OSError:
            self._torn = True
        else:
            self._next, self._torn = self._next + 1, False

    def sync(self) -> None:
        """Make every line durable."""
        os.fsync(self._descriptor)


class Vitals:
    """Rewrites the vitals in place: a JSON object padded to a fixed size."""

    def __init__(self, path: str) -> None:
        """Open the file for writing."""
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def show(self, seen: dict[str, object]) -> None:
        """Write `seen`, which must fit; nothing is raised where the disk is full."""
        line = json.dumps(seen, separators=(",", ":")).encode().ljust(VITALS_BYTES - 1) + b"\n"
        try:
            os.pwrite(self._descriptor, line, 0)
        except OSError:
            return


def read_vitals(path: str) -> dict[str, object] | None:
    """Read what the supervisor of an attempt saw last; None if there is nothing whole."""
    return parse_object(read_regular(path, VITALS_BYTES))


def boottime() -> float:
    """Give the seconds since boot, time asleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
