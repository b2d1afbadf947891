"""What the scheduler keeps in mind of an open attempt: a memory that may be lost, the records being the truth."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from stoker.domain.job import Attempt, Job
from stoker.domain.limits import Limits
from stoker.domain.progress import TRUSTED, Phase
from stoker.domain.states import JobState
from stoker.domain.stop import StopKind
from stoker.scheduler.intake import Seen

INTAKE_SECONDS = 0.2
"""Records are taken in at most this often per attempt: a chatty trainer costs one transaction, not a hundred."""

START_INTAKE_SECONDS = 0.01
"""The same until the attempt runs: its first records say that it does, and somebody waits for that."""

TROUBLE_SECONDS, MOST_TROUBLE_SECONDS, MOST_TROUBLES = 0.5, 30.0, 8
"""The wait after something failed for an attempt, doubled at each further time."""

UNWATCHED_SECONDS = 40.0
"""Between two looks at a silent supervisor that lie further apart, it was this server that was away."""


@dataclass(slots=True)
class Watched:
    """One open attempt. Times are on the monotonic clock."""

    job_id: str
    attempt_id: str
    number: int
    cursor: str
    seen: Seen
    is_running: bool
    since: float
    handle: Mapping[str, Any]
    limits: Limits = field(default_factory=Limits)
    due: float = 0.0
    has_news: bool = True
    inspect_at: float = 0.0
    unresponsive_since: float | None = None
    unresponsive_at: float = 0.0
    unresponsive_cursor: str = ""
    is_ending: bool = False
    is_dead: bool = False
    is_polled: bool = False
    troubles: int = 0
    missing: Future[list[str]] | None = None
    stop_sent: StopKind | None = None
    lease_renewed_at: float = 0.0

    @staticmethod
    def of(job: Job, attempt: Attempt, now: float) -> Watched:
        """Begin to watch an attempt as the store knows it."""
        return Watched(
            job_id=job.id,
            attempt_id=attempt.id,
            number=attempt.number,
            cursor=attempt.cursor,
            seen=Seen(progress=attempt.progress, live=attempt.live),
            is_running=job.state is JobState.RUNNING,
            since=now,
            handle=attempt.handle,
            limits=job.spec.limits,
            lease_renewed_at=now,
        )

    def look_later(self, now: float) -> None:
        """Take in nothing more for the moment."""
        self.due = now + (INTAKE_SECONDS if self.is_running else START_INTAKE_SECONDS)

    def look_again(self, at: float) -> None:
        """Look at the attempt again at this moment, its records and whether its supervisor lives."""
        self.due, self.has_news, self.inspect_at = at, True, at

    def note_trouble(self, now: float) -> None:
        """Note that something for this attempt failed; it is tried again after a wait that grows."""
        self.look_again(now + min(MOST_TROUBLE_SECONDS, TROUBLE_SECONDS * 2.0**self.troubles))
        self.troubles = min(self.troubles + 1, MOST_TROUBLES)

    def note_silence(self, now: float) -> float:
        """Note that the supervisor did not answer; give for how long neither it nor the work has moved.

        A time in which this server itself did not look does not count.
        """
        has_moved = self.unresponsive_cursor != self.cursor or now - self.unresponsive_at > UNWATCHED_SECONDS
        if self.unresponsive_since is None or has_moved:
            self.unresponsive_since, self.unresponsive_cursor = now, self.cursor
        self.unresponsive_at = now
        return now - self.unresponsive_since

    def silence_allowed(self) -> float | None:
        """Give how long the work may stand still beside a stuck supervisor; None where its signs can't tell."""
        if self.seen.live.get("watched_by") not in TRUSTED:
            return None
        phase = self.seen.live.get("phase")
        return self.limits.silence_allowed(Phase(phase) if phase in set(Phase) else Phase.TRAINING)
