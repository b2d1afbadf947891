"""How fast training goes: rows and tokens per second of training, without the time of evaluations and saves."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

WINDOW_STEPS = 20


class Pace:
    """A stopwatch that runs while training does, and the work done by it over the last steps."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a monotonic clock in seconds."""
        self._clock = clock
        self._since: float | None = None
        self._spent = 0.0
        self._rows = self._tokens = 0
        self._marks: deque[tuple[float, int, int]] = deque(maxlen=WINDOW_STEPS + 1)

    def run(self) -> None:
        """Let the stopwatch run; the first call marks the beginning."""
        if self._since is None:
            self._since = self._clock()
        if not self._marks:
            self._marks.append((0.0, 0, 0))

    def hold(self) -> None:
        """Hold the stopwatch: what follows is not training."""
        if self._since is not None:
            self._spent += self._clock() - self._since
            self._since = None

    def step(self, rows: int, tokens: int) -> dict[str, float]:
        """Count a finished step and give the rates over the last steps; what was not counted has none."""
        running = 0.0 if self._since is None else self._clock() - self._since
        self._rows += rows
        self._tokens += tokens
        self._marks.append((self._spent + running, self._rows, self._tokens))
        (then, old_rows, old_tokens), (now, new_rows, new_tokens) = self._marks[0], self._marks[-1]
        if now <= then:
            return {}
        steps = (len(self._marks) - 1) / (now - then)
        rates = {
            "steps_per_second": steps,
            "samples_per_second": (new_rows - old_rows) / (now - then),
            "tokens_per_second": (new_tokens - old_tokens) / (now - then),
        }
        return {name: round(rate, 4) for name, rate in rates.items() if rate > 0}
