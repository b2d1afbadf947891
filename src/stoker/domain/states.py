"""The states of a job and the one table of legal moves between them."""

from __future__ import annotations

from enum import StrEnum


class JobState(StrEnum):
    """Where a job stands, in the words that every surface uses."""

    QUEUED = "queued"
    """Waits for a slot and its GPUs. The scheduler moves it to pending; a cancel ends it at once."""

    PENDING = "pending"
    """Has its slot; its attempt is being launched. The trainer's first report moves it to running."""

    RUNNING = "running"
    """A live process makes progress now. Left only when the whole process tree of the attempt is gone."""

    PAUSED = "paused"
    """Stopped on request, nothing of it runs. A resume queues it again, a cancel ends it."""

    COMPLETED = "completed"
    """The main process exited with 0 and its tree is empty. Final."""

    FAILED = "failed"
    """Ended otherwise than asked; the reason says how. Final."""

    CANCELLED = "cancelled"
    """Ended because somebody asked for it. Final."""


TERMINAL = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED})
"""States that never change again."""

ACTIVE = frozenset({JobState.PENDING, JobState.RUNNING})
"""States in which an attempt is open and a slot is taken."""

MOVES: frozenset[tuple[JobState, JobState]] = frozenset(
    {
        (JobState.QUEUED, JobState.PENDING),
        (JobState.QUEUED, JobState.CANCELLED),
        (JobState.PENDING, JobState.RUNNING),
        (JobState.PENDING, JobState.PAUSED),
        (JobState.PENDING, JobState.FAILED),
        (JobState.PENDING, JobState.CANCELLED),
        (JobState.PENDING, JobState.QUEUED),
        (JobState.RUNNING, JobState.COMPLETED),
        (JobState.RUNNING, JobState.PAUSED),
        (JobState.RUNNING, JobState.FAILED),
        (JobState.RUNNING, JobState.CANCELLED),
        (JobState.RUNNING, JobState.QUEUED),
        (JobState.PAUSED, JobState.QUEUED),
        (JobState.PAUSED, JobState.CANCELLED),
    }
)
"""Every legal move. What is not in here is refused."""


def may_move(source: JobState, target: JobState) -> bool:
    """Tell whether a job in `source` may go to `target`."""
    return (source, target) in MOVES
