"""From the records of an attempt to what the store takes in: pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stoker.engines.port import Records
from stoker.rundir.journal import Note
from stoker.scheduler.snapshot import advance, from_progress_file, metric_row
from stoker.store.port import Intake, MetricRow, SupervisorNote

RANGE_BYTES = 1 << 16
"""A log range of the feed is no longer than this, so that an event of a stream stays small."""

LIVE_FIELDS = {
    Note.STARTED: {"pid": "process_pid", "supervisor": "supervisor_pid", "cgroup": "cgroup"},
    Note.REPORTED: {"watched_by": "watched_by"},
    Note.WATCH: {"watched_by": "watched_by"},
    Note.PHASE: {"phase": "phase"},
    Note.SUSPECT: {"text": "suspect"},
    Note.STOP: {"step": "stop_step"},
}
"""Which facts of a note tell how the attempt is now, and under which names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What is known of an attempt so far: its latest figures, how it is now, and how far its trainer came."""

    progress: Mapping[str, Any] = field(default_factory=dict)
    live: Mapping[str, Any] = field(default_factory=dict)

    @property
    def runs(self) -> bool:
        """Whether the trainer has begun: by its first report, or by its exec where it makes none."""
        return bool(self.live.get("reported") or (self.live.get("executed") and not self.live.get("reports")))

    @property
    def began_at(self) -> float | None:
        """When the trainer began, seconds since 1970 UTC by its machine's clock; None before."""
        at = self.live.get("began_at")
        return float(at) if self.runs and isinstance(at, int | float) else None


def digest(records: Records, seen: Seen, before: str, now: float) -> tuple[Intake, Seen]:
    """Give what the store must take in of these records, and what is known after them."""
    rows, progress = _digest_metrics(records, seen.progress, now)
    if records.progress_file is not None:
        progress = from_progress_file(progress, records.progress_file)
    notes, live = _digest_journal(records, seen.live)
    if records.bad_lines:
        live["bad_lines"] = records.bad_lines
    intake = Intake(
        before=before,
        after=records.cursor,
        metrics=tuple(rows),
        notes=tuple(notes),
        progress=dict(progress) if progress != seen.progress else None,
        live=live if live != seen.live else None,
        log_ranges=tuple(_ranges(records.log_from, records.log_to)),
    )
    return intake, Seen(progress=progress, live=live)


def is_empty(intake: Intake) -> bool:
    """Tell whether there is nothing to take in but a cursor that may wait."""
    return not (intake.metrics or intake.notes or intake.progress or intake.live or intake.log_ranges)


def _digest_metrics(
    records: Records, progress: Mapping[str, Any], now: float
) -> tuple[list[MetricRow], Mapping[str, Any]]:
    rows = []
    for seq, line in records.metrics:
        row = metric_row(seq, line, now)
        rows.append(row)
        progress = advance(progress, line, row)
    return rows, progress


def _digest_journal(records: Records, live: Mapping[str, Any]) -> tuple[list[SupervisorNote], dict[str, Any]]:
    notes, now = [], dict(live)
    for line in records.journal:
        at = line.get("at")
        data = {key: value for key, value in line.items() if key not in ("seq", "t", "at")}
        notes.append(SupervisorNote(at=float(at) if isinstance(at, int | float) else 0.0, data=data))
        note = line.get("note")
        if note in (Note.EXECUTED, Note.REPORTED):
            now[str(note)], now["began_at"] = True, notes[-1].at
        for source, target in LIVE_FIELDS.get(note, {}).items() if isinstance(note, str) else ():  # type: ignore[call-overload]
            now[target] = line.get(source)
    return notes, now


def _ranges(start: int, end: int) -> list[tuple[int, int]]:
    return [(begin, min(begin + RANGE_BYTES, end)) for begin in range(start, end, RANGE_BYTES)]
