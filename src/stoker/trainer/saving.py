"""While a checkpoint is being written: reports that it grows, so that a long save is seen to advance."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from stoker.trainer.reporter import Reporter

SECONDS_BETWEEN = 2.0


class SavingWatch:
    """Looks at a folder's size every few seconds and reports it whenever it changed."""

    def __init__(self, reporter: Reporter, folder: str) -> None:
        """Start watching."""
        self._reporter, self._folder = reporter, folder
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stoker-saving", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._over.set()

    def _watch(self) -> None:
        last = 0
        while not self._over.wait(SECONDS_BETWEEN):
            size = folder_size(self._folder)
            if size != last:
                last = size
                self._reporter.saving(size)


def now_and_then(report: Callable[[int], None], seconds: float = SECONDS_BETWEEN) -> Callable[[int], None]:
    """Give a function that passes a number on to `report` at most once in so many seconds."""
    told_at = time.monotonic()

    def tell(number: int) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= seconds:
            told_at = time.monotonic()
            report(number)

    return tell


def folder_size(folder: str) -> int:
    """Give the bytes of all files in a folder; 0 if there is none."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:  # deleted or renamed meanwhile
                continue
    return total
