"""The order of the queue, and why a job waits: pure, so that the server and a simulator agree."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.domain.job import Job
from stoker.domain.policy import BACKOFF_CEILING_SECONDS


def next_to_start(queue: Sequence[Job], active: int, slots: int, now: float) -> Job | None:
    """Give the job that starts now; None while every slot is taken or every queued job must wait.

    `queue` is in order of starting. A job whose backoff has not passed is not ready and lets others by.
    """
    if active >= slots:
        return None
    return next((job for job in queue if is_ready(job, now)), None)


def is_ready(job: Job, now: float) -> bool:
    """Tell whether nothing but a slot keeps the job from starting.

    No backoff is longer than its ceiling: one that seems so is the trace of a clock that jumped, and has passed.
    """
    return job.not_before is None or not now < job.not_before <= now + BACKOFF_CEILING_SECONDS


def waiting_reason(job: Job, position: int, active: Sequence[str], slots: int, now: float) -> str:
    """Say in one sentence why a queued job does not run yet. `active` names the jobs that hold the slots."""
    if not is_ready(job, now):
        wait = max(1, round((job.not_before or now) - now))
        return f"Waits {wait} s before the next attempt, after attempt {job.attempt} was lost"
    if position > 1:
        return f"Waits for {position - 1} job{'s' if position > 2 else ''} ahead of it in the queue"  # noqa: PLR2004
    if len(active) >= slots:
        return f"Waits for a slot: {slots} of {slots} taken by {', '.join(active)}"
    return "Starts now"
