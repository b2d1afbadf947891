"""The clock by which a trainer is judged: it stands still while its supervisor does."""

from __future__ import annotations

from stoker.rundir.journal import boottime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LATE_SECONDS = 2.0
"""The most by which a turn may be late on its own account: beyond it, it was stopped, starved, or asleep."""


class AwakeClock:
    """Seconds on CLOCK_BOOTTIME, less those in which this process did not run.

    Whatever kept the supervisor from looking (SIGSTOP, a suspended machine) is not held against the trainer, beyond
    `LATE_SECONDS` of each turn: those count, so that the time goes on where every turn is late. `now` changes only with
    `look`, so that all that is decided in one turn is decided at one time.
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
        self.missed += max(0.0, late - LATE_SECONDS)
        self._looked_at = now
