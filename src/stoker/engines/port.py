"""What the scheduler asks of an engine, and how the server reads and reaches an attempt wherever it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from stoker.rundir.records import ExitRecord, Order, StopRecord, Survivor


class Finding(StrEnum):
    """What is known of an attempt when it is looked for."""

    ENDED = "ended"
    """There is a valid exit record."""

    ALIVE = "alive"
    """Its supervisor answers."""

    UNRESPONSIVE = "unresponsive"
    """Its supervisor lives and does not answer, or can't be reached. Never a reason to call it failed."""

    DEAD = "dead"
    """Its supervisor died without an exit record; processes of it may be left."""

    REBOOTED = "rebooted"
    """It was started on an earlier boot of its machine; nothing of it can be left."""

    UNCLAIMED = "unclaimed"
    """No supervisor has claimed it yet."""

    ABSENT = "absent"
    """There is nothing of it: the launch never got that far, or it was given up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The pure request that an engine would send: shown by a dry run, sent by `launch`.

    `order` is written as spec.json, `files` go into the run folder (name to content), `argv` starts the supervisor.
    """

    attempt_id: str
    order: Order
    argv: tuple[str, ...]
    directory: str
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Records:
    """What an attempt recorded since a cursor. Lines are parsed JSON objects; nothing in them is trusted.

    `metrics` are the trainer's valid lines with their sequence numbers, counted from 0; `bad_lines` counts what was
    dropped so far. `progress_file` is the content of a progress.json that changed. `log_from` and `log_to` are the
    range of the log that is new. `more` says that there may be more to read at once.
    """

    cursor: str
    journal: tuple[dict[str, Any], ...] = ()
    metrics: tuple[tuple[int, dict[str, Any]], ...] = ()
    progress_file: dict[str, Any] | None = None
    bad_lines: int = 0
    log_from: int = 0
    log_to: int = 0
    more: bool = False


@dataclass(frozen=True, slots=True)
class News:
    """What is new: attempts whose records changed, and attempts whose supervisor died."""

    changed: frozenset[str] = frozenset()
    died: frozenset[str] = frozenset()


class AttemptChannel(Protocol):
    """The server's only way to an attempt. A directory on this machine is the first adapter of it.

    Reads never block on the trainer and never change anything; a missing attempt reads as empty.
    """

    def read(self, cursor: str, *, final: bool = False) -> Records:
        """Give the records since `cursor`, a bounded part of them. Whole lines only.

        The log is cut at the end of a line; with `final` what follows the last one is included.
        """

    def exit(self) -> ExitRecord | None:
        """Give the exit record, None while there is none that is whole."""

    def vitals(self) -> dict[str, Any] | None:
        """Give what the supervisor sees now: phase, ages, the watched signal, pids."""

    def send_stop(self, stop: StopRecord) -> None:
        """Write the stop request durably and tell the supervisor. Idempotent; raises `OSError` if it can't be kept."""

    def fence(self, epoch: int) -> None:
        """Make the supervisor refuse stop requests of earlier epochs. Durable and idempotent."""

    def acknowledge(self) -> None:
        """Tell the supervisor that its end was taken in, so that it may go. Best effort."""

    def log_size(self) -> tuple[int, int]:
        """Give the bytes and the lines that the log ever had."""

    def log_whole_lines(self) -> int:
        """Give the lines that were ever written to their end: all but one that is being written now."""

    def log_lines(self, first: int, limit: int) -> tuple[int, list[bytes]]:
        """Give up to `limit` lines of the log from line `first` on.

        The number is that of the first of them, later than `first` if that was dropped.
        """

    def log_tail(self, first: int, limit: int) -> tuple[int, list[bytes]]:
        """Give the same lines; where they are too many bytes the first of them are left out, not the last."""

    def log_range(self, start: int, end: int) -> tuple[int, bytes]:
        """Give bytes of the log and where they begin, later than `start` if the beginning was dropped."""


class Engine(Protocol):
    """Where attempts run. Calls come from the scheduler's thread and block for milliseconds, not seconds."""

    name: str

    def plan(self, order: Order, files: Mapping[str, bytes]) -> Plan:
        """Turn an order into the request that would be sent. Pure: nothing is touched."""

    def launch(self, plan: Plan) -> dict[str, Any]:
        """Send a plan and return the handle. The attempt's UUID is its name there: to send twice starts one.

        Raises `OSError` if nothing was started.
        """

    def find(self, attempt_id: str, handle: Mapping[str, Any]) -> Finding:
        """Look for an attempt. Idempotent; waits at most 5 s for a supervisor's answer."""

    def abandon(self, attempt_id: str, epoch: int) -> bool:
        """Give up an attempt that nobody claimed; False if its supervisor was first and owns it."""

    def clean_up(self, attempt_id: str) -> tuple[Survivor, ...]:
        """End what is left of an attempt whose supervisor died, and name what would not die. Idempotent."""

    def end_supervisor(self, attempt_id: str) -> None:
        """End a supervisor that lives and answers no more, after a last attempt to wake it."""

    def channel(self, attempt_id: str) -> AttemptChannel:
        """Give the channel to an attempt."""

    def watch(self, attempt_id: str) -> bool:
        """Report news of this attempt from now on; False if there will be none and it must be looked at. Idempotent."""

    def unwatch(self, attempt_id: str) -> None:
        """Report no more news of it. Idempotent."""

    def fileno(self) -> int:
        """Give a descriptor that is readable while there is news."""

    def news(self) -> News:
        """Take the news of the attempts that are watched. Never blocks."""

    def remove(self, attempt_id: str) -> None:
        """Delete the records of an ended attempt. Idempotent."""

    def close(self) -> None:
        """Give up the descriptors. Running attempts are left alone."""
