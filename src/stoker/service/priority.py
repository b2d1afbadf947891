"""Priority: change where a job stands in the queue."""

from __future__ import annotations

from typing import Any

from stoker.domain.actor import Actor, Scope
from stoker.domain.errors import invalid
from stoker.service.context import Context, require, visible
from stoker.service.request import MAX_PRIORITY


def priority(context: Context, actor: Actor, job_id: str, value: int) -> dict[str, Any]:
    """Set the priority of a job that has not ended; higher starts first. Raises `NotFound`, `IllegalMove`."""
    require(actor, Scope.SUBMIT)
    visible(context, actor, job_id)
    if abs(value) > MAX_PRIORITY:
        raise invalid("priority", f"{value} is out of range", f"Use a number from -{MAX_PRIORITY} to {MAX_PRIORITY}")
    job = context.store.set_priority(job_id, value, context.now())
    context.wake()
    return {
        "success": True,
        "job_id": job_id,
        "priority": job.priority,
        "queue_position": context.store.queue_position(job_id),
        "message": f"The priority is {job.priority}",
    }
