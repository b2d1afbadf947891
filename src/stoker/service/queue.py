"""Queue: what runs, what waits, in which order and why."""

from __future__ import annotations

from typing import Any

from stoker.domain.actor import Actor, Scope
from stoker.domain.job import Attempt, Job
from stoker.domain.queue import waiting_reason
from stoker.domain.states import JobState
from stoker.service.context import Context, require

MAX_SHOWN = 1000


def queue(context: Context, actor: Actor) -> dict[str, Any]:
    """Give the running and the queued jobs that the actor may see; positions count everybody's jobs."""
    require(actor, Scope.READ)
    active, waiting = context.store.active_jobs(), context.store.queue(MAX_SHOWN)
    counts, names, now = context.store.count_by_state(), [job.id for job, _ in active], context.now()
    slots = context.settings.slots
    shown = [
        _queued(job, position, waiting_reason(job, position, names_for(actor, active), slots, now))
        for position, job in enumerate(waiting, 1)
        if actor.sees(job.owner)
    ]
    return {
        "running_count": len(names),
        "queued_count": counts[JobState.QUEUED],
        "slots": slots,
        "running_jobs": [_running(job, attempt) for job, attempt in active if actor.sees(job.owner)],
        "queued_jobs": shown,
        "queue_active": True,
    }


def names_for(actor: Actor, active: list[tuple[Job, Attempt]]) -> list[str]:
    """Name the jobs that hold the slots, as the actor may know them."""
    return [job.id if actor.sees(job.owner) else "another user's job" for job, _ in active]


def _running(job: Job, attempt: Attempt) -> dict[str, Any]:
    progress = attempt.progress
    return {
        "job_id": job.id,
        "name": job.name,
        "status": job.state.value,
        "progress": progress.get("progress"),
        "current_epoch": progress.get("current_epoch"),
        "total_epochs": progress.get("total_epochs"),
    }


def _queued(job: Job, position: int, reason: str) -> dict[str, Any]:
    return {
        "job_id": job.id,
        "name": job.name,
        "position": position,
        "status": job.state.value,
        "priority": job.priority,
        "waiting_reason": reason,
    }
