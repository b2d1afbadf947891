"""What the scheduler keeps in mind of an open attempt: a memory that may be lost, the records being the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stoker.domain.job import Attempt, Job
from stoker.domain.states import JobState
from stoker.domain.stop import StopKind
from stoker.scheduler.intake import Seen

INTAKE_SECONDS = 0.2
"""Records are taken in at most this often per attempt: a chatty trainer costs one transaction, not a hundred."""

START_INTAKE_SECONDS = 0.01
"""The same until the attempt runs: its first records say that it does, and somebody waits for that."""


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
    due: float = 0.0
    has_news: bool = True
    inspect_at: float = 0.0
    unresponsive_since: float | None = None
    unresponsive_cursor: str = ""
    is_ending: bool = False
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
            lease_renewed_at=now,
        )

    def look_later(self, now: float) -> None:
        """Take in nothing more for the moment."""
        self.due = now + (INTAKE_SECONDS if self.is_running else START_INTAKE_SECONDS)

    def look_again(self, at: float) -> None:
        """Look at the attempt again at this moment, its records and whether its supervisor lives."""
        self.due, self.has_news, self.inspect_at = at, True, at

    def note_silence(self, now: float) -> float:
        """Note that the supervisor did not answer; give for how long neither it nor the work has moved."""
        if self.unresponsive_since is None or self.unresponsive_cursor != self.cursor:
            self.unresponsive_since, self.unresponsive_cursor = now, self.cursor
        return now - self.unresponsive_since
