"""What the trainer shows of itself: reports, heartbeat, progress file, output; and when it last moved."""

from __future__ import annotations

import json
import math
import struct

from stoker.domain.progress import Phase, WatchedBy, better
from stoker.rundir.durable import read_regular
from stoker.rundir.journal import Note
from stoker.rundir.spool import Place, read_lines
from stoker.supervisor.progressfile import ProgressFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stoker.rundir.layout import RunDir
    from stoker.rundir.records import Order
    from stoker.supervisor.clocks import AwakeClock

READS_PER_LOOK = 4
"""How many pieces of a long metrics file one look takes, so that it stays short."""

_PHASES = {phase.value: phase for phase in Phase}


class Watch:
    """The signs of one trainer. Times of progress are on the clock that is given; those for records on boot time."""

    def __init__(self, order: Order, run: RunDir, clock: AwakeClock, note: Callable[..., None]) -> None:
        """Take what is there before the job as no sign of it."""
        self._run, self._clock, self._note = run, clock, note
        self._files = [ProgressFile(path) for path in order.progress_files]
        self._place = Place()
        self._unreadable = 0
        self.phase = Phase.LOADING if order.reports else Phase.TRAINING
        self.watched_by = WatchedBy.CALLBACK if order.reports else WatchedBy.EXIT
        self.reported = False
        self.can_save = order.can_save
        self.progress_at = clock.now
        self.progress_boot = clock.boot
        self.heartbeat_boot: float | None = None
        self.saving_at: float | None = None

    @property
    def bad_lines(self) -> int:
        """How many reports could not be understood, or were too long to be read."""
        return self._unreadable + self._place.dropped + sum(file.bad for file in self._files)

    def look(self) -> None:
        """Look at every signal once."""
        self._read_metrics()
        for file in self._files:
            if file.look():
                self._report(WatchedBy.PROGRESS_FILE)
                self._move(WatchedBy.PROGRESS_FILE)
        self._read_beat()

    def hear_output(self) -> None:
        """Take in that the trainer wrote something to its output."""
        self._upgrade(WatchedBy.LOG)
        self._move(WatchedBy.LOG)

    def begin(self) -> None:
        """Take in that the main process runs the job's program now."""
        self.progress_at, self.progress_boot = self._clock.now, self._clock.boot

    def _read_metrics(self) -> None:
        for _ in range(READS_PER_LOOK):
            lines, place = read_lines(self._run.metrics, self._place)
            unchanged, self._place = place == self._place, place
            for line in lines:
                self._take(line)
            if unchanged:
                return

    def _take(self, line: bytes) -> None:
        try:
            report = json.loads(line)
        except (ValueError, RecursionError):
            report = None
        if not isinstance(report, dict):
            self._unreadable += 1
            return
        self._report(WatchedBy.CALLBACK)
        self._enter(report.get("phase"))
        if report.get("kind") == "hello":
            self.can_save = self.can_save or report.get("can_save") is True
        else:
            self._move(WatchedBy.CALLBACK)

    def _report(self, by: WatchedBy) -> None:
        self._upgrade(by)
        if not self.reported:
            self.reported = True
            self._note(Note.REPORTED, watched_by=self.watched_by)

    def _enter(self, name: object) -> None:
        phase = _PHASES.get(name) if isinstance(name, str) else None
        if phase is not None and phase is not self.phase:
            self.phase = phase
            self._note(Note.PHASE, phase=phase)

    def _upgrade(self, by: WatchedBy) -> None:
        if better(by, self.watched_by):
            self.watched_by = by
            self._note(Note.WATCH, watched_by=by)

    def _move(self, by: WatchedBy) -> None:
        """Take in that the work moved, unless a better signal than `by` is watched."""
        if better(self.watched_by, by):
            return
        self.progress_at, self.progress_boot = self._clock.now, self._clock.boot
        if self.phase is Phase.SAVING:
            self.saving_at = self._clock.now

    def _read_beat(self) -> None:
        data = read_regular(self._run.beat, struct.calcsize("<d"))
        if data is None or len(data) != struct.calcsize("<d"):
            return
        (beat,) = struct.unpack("<d", data)
        if math.isfinite(beat) and beat <= self._clock.boot + 1:
            self.heartbeat_boot = beat
