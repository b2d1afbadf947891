"""Progress where no callback is: whatever moves a progress bar (a download, a tokenisation) moves the work."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

SECONDS_BETWEEN = 1.0


class Bars:
    """Hears every progress bar of the process, shown or not, and tells `moved` at most once a second."""

    def __init__(self, moved: Callable[[int], None]) -> None:
        """Take what to call with the number of units that all bars have moved by."""
        self._moved = moved
        self._units = 0
        self._told_at = 0.0
        self._original: Any = None

    def listen(self) -> None:
        """Listen from now on; without a progress bar library there is nothing to hear."""
        try:
            std: Any = importlib.import_module("tqdm.std")
        except ImportError:
            return
        self._original = original = std.tqdm.update

        def update(bar: Any, n: float | None = 1) -> Any:
            self._count(n or 0)
            return original(bar, n)

        std.tqdm.update = update

    def stop(self) -> None:
        """Listen no more."""
        if self._original is None:
            return
        std: Any = importlib.import_module("tqdm.std")
        std.tqdm.update = self._original
        self._original = None

    def _count(self, units: float) -> None:
        self._units += int(units)
        now = time.monotonic()
        if now - self._told_at >= SECONDS_BETWEEN:
            self._told_at = now
            self._moved(self._units)
