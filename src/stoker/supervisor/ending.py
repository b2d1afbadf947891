"""The exit record: written into the space that was set aside for it, whole and durable before anybody is told."""

from __future__ import annotations

import json
import os
import stat

from stoker.rundir.durable import fsync_dir, read_object, settle, write_all
from stoker.rundir.records import encode_sealed
from stoker.supervisor.diagnostics import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stoker.rundir.layout import AttemptDir, RunDir
    from stoker.rundir.records import ExitRecord

SLOT_BYTES = 16 << 10
"""Disk space set aside for the exit record; the largest one fits."""

_SLOT_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC

MOST_SURVIVORS = 40
_OUTCOME_BYTES = 8 << 10
_TEXT_LENGTH = 600


_RETRY_SECONDS = 0.5


class Ending:
    """An exit record on its way to the disk. Until it is there the attempt has not ended, so it is tried for ever.

    Only where the attempt's directory is no more there is nothing to tell, and nobody to be told.
    """

    def __init__(self, attempt: AttemptDir, record: ExitRecord, evidence: list[str]) -> None:
        """Take the record, and the files that are to be durable before it is seen. Nothing is written yet."""
        self._attempt, self._record, self._evidence = attempt, record, evidence
        self.is_written = self.is_lost = False
        self.retry_at = 0.0

    @property
    def is_over(self) -> bool:
        """Tell whether nothing is left to do: the record is written, or can never be."""
        return self.is_written or self.is_lost

    def write(self, now: float) -> None:
        """Write the record if it is time to; where the disk won't take it, come back later."""
        if self.is_over or now < self.retry_at:
            return
        try:
            write_exit(self._attempt, self._record, self._evidence)
        except OSError as error:
            complain(f"The exit record can't be written: {error.strerror}")
            self.retry_at = now + _RETRY_SECONDS
            self._evidence = []  # it may be what fails, and the end does not depend on it
            self.is_lost = is_removed(self._attempt)
        else:
            self.is_written = True


def set_aside(attempt: AttemptDir) -> None:
    """Take the disk space for the exit record now, while there is some. Raises `OSError` if there is none."""
    descriptor = os.open(attempt.exit_slot, _SLOT_FLAGS, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, SLOT_BYTES)
    finally:
        os.close(descriptor)


def write_exit(attempt: AttemptDir, record: ExitRecord, evidence: list[str]) -> None:
    """Write the exit record; durable on return, and seen only once it and the evidence are.

    Raises `OSError`, and may be tried again then.
    """
    descriptor = os.open(attempt.exit_slot, _SLOT_FLAGS, 0o600)
    data = encode_sealed(record)
    try:
        write_all(descriptor, data)
        os.ftruncate(descriptor, len(data))
    finally:
        os.close(descriptor)
    settle([attempt.exit_slot, *(path for path in evidence if _is_regular(path))])
    os.rename(attempt.exit_slot, attempt.exit)
    fsync_dir(attempt.root)


def is_removed(attempt: AttemptDir) -> bool:
    """Tell whether the attempt's directory is gone; not where it only can't be looked at."""
    try:
        os.lstat(attempt.root)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def read_outcome(run: RunDir) -> dict[str, object]:
    """Read what the trainer says of its own end; empty if it says nothing that can be read."""
    outcome = read_object(run.outcome)
    return {} if outcome is None else _fit(outcome)


def _is_regular(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _fit(outcome: dict[str, object]) -> dict[str, object]:
    """Cut what is too long for the record; what the server decides by is short."""
    kept: dict[str, object] = {}
    for key, value in outcome.items():
        short = value[:_TEXT_LENGTH] if isinstance(value, str) else value
        if len(json.dumps({**kept, key: short})) <= _OUTCOME_BYTES:
            kept[key] = short
    return kept
