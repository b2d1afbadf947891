"""Stops before the first step: there is nothing to save yet, so the process may simply go."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import threading

from stoker.trainer.reporter import Reporter

POLL_SECONDS = 0.1
EXIT_STOPPED = 75
"""The exit code of a trainer that stopped as asked (EX_TEMPFAIL); outcome.json is what counts."""


class EarlyStop:
    """Watches for a stop request while the trainer loads and prepares, whatever its main thread is busy with."""

    def __init__(self, reporter: Reporter, resume_from: str | None = None, step: int = 0) -> None:
        """Take where the training would go on from, to name it if it never gets further."""
        self._reporter, self._resume_from, self._step = reporter, resume_from, step
        self._lock = threading.Lock()
        self._over = False
        self._ears, self._mouth = socket.socketpair()
        self._mouth.setblocking(False)

    def begin(self) -> None:
        """Watch from now on. Called in the main thread, so that SIGTERM is heard even while that is in C code."""
        with contextlib.suppress(ValueError):
            signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, name="stoker-early-stop", daemon=True).start()

    def end(self) -> None:
        """Watch no more: from here on a stop finishes the step and saves."""
        with self._lock:
            if self._over:
                return
            self._over = True
        with contextlib.suppress(ValueError):
            signal.set_wakeup_fd(-1)

    def _watch(self) -> None:
        while not self._over:
            self._listen()
            if self._reporter.stop_requested() is not None:
                self._leave()
        self._ears.close()
        self._mouth.close()

    def _listen(self) -> None:
        heard, _, _ = select.select([self._ears], [], [], POLL_SECONDS)
        if heard and signal.SIGTERM in self._ears.recv(64):
            self._reporter.note_terminate()

    def _leave(self) -> None:
        with self._lock:
            if self._over:
                return
            self._reporter.write_outcome("stopped", step=self._step, checkpoint=self._resume_from)
            self._reporter.done("stopped")
            print("Stopped before the first step, as asked", flush=True)  # noqa: T201 - for the job's log
            sys.stderr.flush()
            os._exit(EXIT_STOPPED)
