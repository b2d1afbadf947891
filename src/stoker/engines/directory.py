"""The channel to an attempt whose directory is on this machine."""

from __future__ import annotations

import binascii
import json
import os
from dataclasses import dataclass
from typing import Any

from stoker.domain.progress import WatchedBy
from stoker.engines.port import Records
from stoker.rundir import logfiles, wire
from stoker.rundir.durable import read_regular, write_durably
from stoker.rundir.journal import read_vitals
from stoker.rundir.layout import AttemptDir, RunDir
from stoker.rundir.records import ExitRecord, Order, StopRecord, encode, read_exit, read_order
from stoker.rundir.spool import Place, read_lines

NUDGE_SECONDS = 0.5
"""How long a nudge may take. A supervisor that does not answer finds its stop request in the file."""
UNCUT_BYTES = 1 << 16
"""More log than this is taken in without looking for the end of a line."""

READ_BYTES = 1 << 20
"""So much of each spool is read at once."""

PROGRESS_FILE_BYTES = 16 << 20
"""A longer progress file is not read: the original's trainers keep all of their history in it."""


_START = Place()


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the server stands in an attempt's records."""

    journal: Place = _START
    metrics: Place = _START
    valid: int = 0
    bad: int = 0
    progress: int = 0
    log: int = 0

    def encode(self) -> str:
        """Give the cursor as an opaque text."""
        return json.dumps([self.journal.encode(), self.metrics.encode(), self.valid, self.bad, self.progress, self.log])

    @staticmethod
    def decode(text: str) -> Cursor:
        """Read a cursor back; the start for an empty text."""
        if not text:
            return Cursor()
        journal, metrics, valid, bad, progress, log_bytes = json.loads(text)
        return Cursor(Place.decode(journal), Place.decode(metrics), valid, bad, progress, log_bytes)


class DirectoryChannel:
    """Reads the records of one attempt directory, and reaches its supervisor through its socket."""

    def __init__(self, attempt: AttemptDir) -> None:
        """Take the directory, which need not exist yet."""
        self._attempt = attempt
        self._run = RunDir(attempt.run)
        self._order: Order | None = None

    def read(self, cursor: str, *, final: bool = False) -> Records:
        """Give the records since `cursor`, about a mebibyte of each kind."""
        at = Cursor.decode(cursor)
        journal_lines, journal = read_lines(self._attempt.journal, at.journal, READ_BYTES)
        metric_lines, metrics = read_lines(self._run.metrics, at.metrics, READ_BYTES)
        parsed = [parse_line(line) for line in metric_lines]
        valid = [line for line in parsed if line is not None]
        bad = at.bad + len(parsed) - len(valid) + metrics.dropped - at.metrics.dropped
        progress_file, seal = self._read_progress(at.progress)
        log_to = self._log_cut(at.log, final=final)
        after = Cursor(journal, metrics, at.valid + len(valid), bad, seal, log_to)
        return Records(
            cursor=after.encode(),
            journal=tuple(line for line in map(parse_line, journal_lines) if line is not None),
            metrics=tuple(enumerate(valid, at.valid)),
            progress_file=progress_file,
            bad_lines=bad,
            log_from=at.log,
            log_to=log_to,
            more=_is_behind(self._attempt.journal, at.journal) or _is_behind(self._run.metrics, at.metrics),
        )

    def exit(self) -> ExitRecord | None:
        """Give the exit record, None while there is none that is whole."""
        return read_exit(self._attempt.exit)

    def vitals(self) -> dict[str, Any] | None:
        """Give what the supervisor saw last."""
        return read_vitals(self._attempt.vitals)

    def send_stop(self, stop: StopRecord) -> None:
        """Write the stop request durably and wake the supervisor."""
        write_durably(self._attempt.stop, encode(stop))
        self._ask("stop")

    def fence(self, epoch: int) -> None:
        """Make the supervisor refuse stop requests of earlier epochs."""
        if int(read_regular(self._attempt.fence) or b"0") < epoch:
            write_durably(self._attempt.fence, str(epoch).encode())

    def acknowledge(self) -> None:
        """Tell the supervisor that its end was taken in."""
        self._ask("ack")

    def log_size(self) -> tuple[int, int]:
        """Give the bytes and the lines that the log ever had."""
        try:
            return logfiles.end_byte(self._attempt.root), logfiles.count_lines(self._attempt.root)
        except FileNotFoundError:
            return 0, 0

    def log_whole_lines(self) -> int:
        """Give the lines that were ever written to their end."""
        try:
            return logfiles.count_whole_lines(self._attempt.root)
        except FileNotFoundError:
            return 0

    def log_lines(self, first: int, limit: int) -> tuple[int, list[bytes]]:
        """Give up to `limit` lines of the log from line `first` on, and the number of the first of them."""
        try:
            return logfiles.read_numbered_lines(self._attempt.root, first, limit)
        except FileNotFoundError:
            return first, []

    def log_tail(self, first: int, limit: int) -> tuple[int, list[bytes]]:
        """Give the same lines; where they are too many bytes the first of them are left out, not the last."""
        try:
            return logfiles.read_last_lines(self._attempt.root, first, limit)
        except FileNotFoundError:
            return first, []

    def log_range(self, start: int, end: int) -> tuple[int, bytes]:
        """Give bytes of the log and where they begin."""
        try:
            return logfiles.read_bytes(self._attempt.root, start, end)
        except FileNotFoundError:
            return start, b""

    def order(self) -> Order | None:
        """Give the order that the attempt was started with."""
        if self._order is None:
            self._order = read_order(self._attempt.order)
        return self._order

    def _ask(self, verb: str) -> None:
        order = self.order()
        if order is not None and os.path.exists(self._attempt.socket):
            wire.ask(self._attempt, verb, order.nonce, timeout=NUDGE_SECONDS)

    def _log_cut(self, start: int, *, final: bool) -> int:
        """Give the byte up to which the log is taken in now: the end of its last line, unless that is far away."""
        try:
            end = logfiles.end_byte(self._attempt.root)
        except FileNotFoundError:
            return start
        if final or end - start > UNCUT_BYTES or end == start:
            return end
        begin, data = self.log_range(start, end)
        cut = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        return begin + cut if cut else start

    def _read_progress(self, seal: int) -> tuple[dict[str, Any] | None, int]:
        """Give a progress file that changed since it had the checksum `seal`, and its checksum now.

        One outside the run folder counts only once the supervisor saw it move: an earlier job may have left it there.
        """
        order = self.order()
        for path in order.progress_files if order is not None else ():
            if path != self._run.progress and (self.vitals() or {}).get("watched_by") != WatchedBy.PROGRESS_FILE:
                continue
            data = read_regular(path, PROGRESS_FILE_BYTES)
            if data is None:
                continue
            found = binascii.crc32(data)
            return (parse_line(data), found) if found != seal else (None, seal)
        return None, seal


def _is_behind(path: str, place: Place) -> bool:
    """Tell whether more lies after a place than is read at once, so that what came last may not have been read."""
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    is_other = (place.device, place.inode) != (found.st_dev, found.st_ino)
    return found.st_size - (0 if is_other else place.offset) > READ_BYTES


def parse_line(line: bytes) -> dict[str, Any] | None:
    """Parse one line of a spool; None for what is no JSON object. NaN and infinity are let through as floats.

    Half characters (lone surrogates), which nothing further up could write again, become question marks.
    """
    try:
        value = json.loads(line)
        if b"\\u" in line or b"\xed" in line:
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
