"""Status: the whole job object, never older than the last acknowledged write."""

from __future__ import annotations

from typing import Any

from stoker.domain.actor import Actor
from stoker.domain.queue import waiting_reason
from stoker.domain.states import ACTIVE, JobState
from stoker.service.context import Context, visible
from stoker.service.queue import names_for
from stoker.service.view import full


def status(context: Context, actor: Actor, job_id: str) -> dict[str, Any]:
    """Give a job with its progress, its liveness and, while it waits, its place and why. Raises `NotFound`."""
    job, attempt = visible(context, actor, job_id)
    vitals = context.channel(attempt).vitals() if attempt is not None and job.state in ACTIVE else None
    shown = full(job, attempt, vitals)
    shown["queue_position"] = shown["waiting_reason"] = None
    if job.state is JobState.QUEUED and (position := context.store.queue_position(job_id)) is not None:
        active = names_for(actor, context.store.active_jobs())
        shown["queue_position"] = position
        shown["waiting_reason"] = waiting_reason(job, position, active, context.settings.slots, context.now())
    return shown
