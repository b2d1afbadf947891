"""The clock by which a trainer is judged: it stands still while its supervisor does."""

from __future__ import annotations

from stoker.rundir.journal import boottime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LATE_SECONDS = 2.0
"""A turn that begins later than this was kept from running: stopped, starved, or the machine was asleep."""


class AwakeClock:
    """Seconds on CLOCK_BOOTTIME, less those in which this process did not run.

    Whatever kept the supervisor from looking (SIGSTOP, a suspended machine) is not held against the trainer. `now`
    changes only with `look`, so that all that is decided in one turn is decided at one time.
    """

    def __init__(self, read: Callable[[], float] = boottime) -> None:
        """Take the clock to read, for tests."""
        self._read = read
        self._looked_at = read()
        self.missed = 0.0

    @property
    def now(self) -> float:
        """The time of this turn, for every comparison."""
        return self._looked_at - self.missed

    @property
    def boot(self) -> float:
        """The time of this turn on CLOCK_BOOTTIME, for records."""
        return self._looked_at

    def look(self, waited: float) -> None:
        """Begin a turn that was to begin `waited` seconds after the last one, at the latest."""
        now = self._read()
        late = now - self._looked_at - waited
        if late > LATE_SECONDS:
            self.missed += late
        self._looked_at = now
