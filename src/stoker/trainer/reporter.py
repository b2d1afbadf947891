"""The trainer's hook: reports to the run folder, hears the stop request, and says how it ended.

Standard library only, so that it works in any interpreter. Reports are JSON lines appended to metrics.jsonl, numbered
from 0; each carries `t` (seconds since boot), `at` (seconds since 1970 UTC) and a `kind`:

    hello       pid, can_save: the trainer is there
    phase       phase, and while it lasts done, of where they are known
    step        step, total, epoch (a float), then values: loss, learning_rate, samples_per_second, …
    eval        done, total: batches of an evaluation
    metrics     values that belong to no single step, with the step at which they were taken
    saving      bytes: a checkpoint is being written and grows
    checkpoint  path, step: a checkpoint is complete
    done        outcome

A value that is no number (NaN, infinite) is null, and `flags` says what it was: {"loss": "nan"}.
No call here ever raises into training or waits for anything but a local write.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import math
import mmap
import os
import signal
import struct
import sys
import threading
import time

from stoker.domain.failure import Reason
from stoker.domain.progress import Phase
from stoker.rundir.durable import fsync_dir, read_object, write_all, write_durably
from stoker.rundir.layout import RunDir

TYPE_CHECKING = False  # a foreign interpreter need not pay for typing
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

BEAT_SECONDS = 2.0
OUTCOME_BYTES = 4096
MAX_TEXT = 1000
TERMINATED: dict[str, object] = {"stop": "terminated"}
"""What a SIGTERM reads as where no stop request was written."""

_KINDS_OF_VALUES = (int, float, str, type(None))
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class Reporter:
    """One trainer's line to its supervisor. Thread-safe; silent in a forked child."""

    def __init__(self, run_dir: str) -> None:
        """Open the run folder: the report file, the heartbeat, the stack dump on SIGUSR1, space for the outcome."""
        self.run = RunDir(os.path.abspath(run_dir))
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self.last_phase = Phase.LOADING
        self._terminated = False
        self._stop: dict[str, object] | None = None
        self._closed = threading.Event()
        self._descriptor = _open_lines(self.run.metrics)
        self._seq, self._torn = _count_lines(self.run.metrics)
        self._previous: Any = None
        self._stacks = _register_stacks(self.run.stacks(self._pid))
        self._slot = _reserve(self.run.path("outcome.slot"))
        self._start_beating()

    # Reports

    def hello(self, *, can_save: bool, **facts: object) -> None:
        """Say that the trainer is there, and whether it answers a stop request with a checkpoint."""
        self._report("hello", {"pid": self._pid, "can_save": can_save, **facts})

    def phase(self, phase: Phase, **progress: object) -> None:
        """Say what the trainer does now; again with `done` and `of` while that advances."""
        self.last_phase = phase
        self._report("phase", {"phase": str(phase), **progress})

    def step(self, step: int, total: int | None, epoch: float | None, **values: object) -> None:
        """Report a finished optimiser step of `total`, the epoch as a float, and what was measured."""
        self._report("step", {"step": step, "total": total, "epoch": epoch, **values})

    def eval_progress(self, done: int, total: int | None) -> None:
        """Report that `done` of `total` batches of an evaluation are through."""
        self._report("eval", {"done": done, "total": total})

    def log(self, values: Mapping[str, object]) -> None:
        """Report values that belong to no single step, such as an evaluation's."""
        self._report("metrics", dict(values))

    def saving(self, size: int) -> None:
        """Report that a checkpoint is being written and has `size` bytes so far."""
        self._report("saving", {"bytes": size})

    def checkpoint(self, path: str, step: int) -> None:
        """Report that the checkpoint at `path`, taken after `step`, is complete."""
        self._report("checkpoint", {"path": path, "step": step})

    def done(self, outcome: str) -> None:
        """Report the end; nothing follows."""
        self._report("done", {"outcome": outcome})

    # The stop request

    def stop_requested(self) -> dict[str, object] | None:
        """Give the stop request once there is one, as {"stop": kind}; costs a stat, microseconds."""
        if self._stop is None:
            self._stop = self._find_stop()
        return self._stop

    def _find_stop(self) -> dict[str, object] | None:
        try:
            os.stat(self.run.control)
        except OSError:
            return TERMINATED if self._terminated else None
        asked = read_object(self.run.control)
        if asked is not None and isinstance(asked.get("stop"), str):
            return asked
        return TERMINATED if self._terminated else None

    def catch_terminate(self) -> None:
        """Take SIGTERM as a stop request from now on. Does nothing outside the main thread."""
        with contextlib.suppress(ValueError):
            self._previous = signal.signal(signal.SIGTERM, self._on_terminate)

    def release_terminate(self) -> None:
        """Give SIGTERM back to whoever had it."""
        with contextlib.suppress(ValueError, TypeError):
            signal.signal(signal.SIGTERM, self._previous)

    def note_terminate(self) -> None:
        """Take it that a SIGTERM has come."""
        self._terminated = True

    def _on_terminate(self, _number: int, _frame: object) -> None:
        self.note_terminate()

    # The end

    def write_outcome(
        self,
        outcome: str,
        *,
        reason: Reason | None = None,
        error: str | None = None,
        step: int | None = None,
        checkpoint: str | None = None,
        **facts: object,
    ) -> bool:
        """Say durably how training ended: completed, stopped or failed; tell whether that could be written.

        The space for it was set aside at the start, so that a full disk can still be named as the cause.
        """
        if os.getpid() != self._pid:
            return False
        body = {"outcome": outcome, "reason": reason, "error": error, "step": step, "checkpoint": checkpoint}
        data = _line({**body, **facts})
        try:
            self._write_reserved(data)
        except OSError as fault:
            return self._write_plainly(data, fault)
        return True

    def _write_reserved(self, data: bytes) -> None:
        if self._slot is None or len(data) > OUTCOME_BYTES:
            write_durably(self.run.outcome, data)
            return
        descriptor, self._slot = self._slot, None
        try:
            write_all(descriptor, data)
            os.ftruncate(descriptor, len(data))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(self.run.path("outcome.slot"), self.run.outcome)
        fsync_dir(self.run.root)

    def _write_plainly(self, data: bytes, fault: OSError) -> bool:
        try:
            write_durably(self.run.outcome, data)
        except OSError:
            _complain(f"could not write {self.run.outcome}: {fault}")
            return False
        return True

    def close(self) -> None:
        """Stop the heartbeat, give SIGUSR1 back and close the files."""
        self._closed.set()
        if self._stacks is not None:
            faulthandler.unregister(signal.SIGUSR1)
            self._stacks.close()
            self._stacks = None
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = -1

    # How it is done

    def _report(self, kind: str, values: dict[str, object]) -> None:
        if os.getpid() != self._pid:
            return
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        with self._lock:
            if self._descriptor < 0:
                return
            data = _line({"seq": self._seq, "t": round(now, 6), "at": round(time.time(), 6), "kind": kind, **values})
            self._append(data)

    def _append(self, data: bytes) -> None:
        """Append one line; a line that was cut short by a full disk is closed off and its number used again."""
        if self._torn:
            data = b"\n" + data
        try:
            written = os.write(self._descriptor, data)
        except OSError:
            return
        if written == len(data):
            self._seq += 1
            self._torn = False
        else:
            self._torn = self._torn or written > 0

    def _start_beating(self) -> None:
        try:
            descriptor = os.open(self.run.beat, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as fault:
            _complain(f"could not open {self.run.beat}: {fault}")
            return
        try:
            os.ftruncate(descriptor, 8)
            page = mmap.mmap(descriptor, 8)
        except (OSError, ValueError) as fault:
            _complain(f"could not map {self.run.beat}: {fault}")
            return
        finally:
            os.close(descriptor)
        _beat(page)
        threading.Thread(target=self._beat_on, args=(page,), name="stoker-heartbeat", daemon=True).start()

    def _beat_on(self, page: mmap.mmap) -> None:
        while not self._closed.wait(BEAT_SECONDS):
            _beat(page)


def _beat(page: mmap.mmap) -> None:
    struct.pack_into("<d", page, 0, time.clock_gettime(time.CLOCK_BOOTTIME))


def _line(values: dict[str, object]) -> bytes:
    try:
        return _encode(values).encode() + b"\n"
    except (ValueError, TypeError):
        return _encode(_cleaned(values)).encode() + b"\n"


def _cleaned(values: dict[str, object]) -> dict[str, object]:
    """Make every value fit for JSON: numbers as they are, what is no number as null with a flag, the rest as text."""
    clean: dict[str, object] = {}
    flags: dict[str, str] = {}
    for name, value in values.items():
        plain = _plain(value)
        if isinstance(plain, float) and not math.isfinite(plain):
            flags[str(name)] = "nan" if math.isnan(plain) else "inf" if plain > 0 else "-inf"
            plain = None
        clean[str(name)] = plain
    return clean | {"flags": flags} if flags else clean


def _plain(value: object) -> object:
    if isinstance(value, str):
        return value[:MAX_TEXT].encode("utf-8", "replace").decode()
    if isinstance(value, _KINDS_OF_VALUES):
        return value
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return f"{type(value).__name__}"


def _open_lines(path: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except OSError as fault:
        _complain(f"could not open {path}, so nothing is reported: {fault}")
        return -1


def _count_lines(path: str) -> tuple[int, bool]:
    """Count the whole lines that are there, and tell whether the last one was cut short."""
    count, last = 0, b"\n"
    try:
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                count, last = count + chunk.count(b"\n"), chunk[-1:]
    except OSError:
        return 0, False
    return count, last != b"\n"


def _register_stacks(path: str) -> Any:
    try:
        file = open(path, "ab")  # noqa: SIM115 - faulthandler writes to it for the life of the process
        faulthandler.register(signal.SIGUSR1, file=file, all_threads=True, chain=False)
    except (OSError, AttributeError, RuntimeError, ValueError) as fault:
        _complain(f"stacks can't be dumped on SIGUSR1: {fault}")
        return None
    return file


def _reserve(path: str) -> int | None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError:
        return None
    try:
        os.posix_fallocate(descriptor, 0, OUTCOME_BYTES)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _complain(text: str) -> None:
    print(f"stoker: {text}", file=sys.stderr, flush=True)  # noqa: T201 - the job's own log is where its reader looks
