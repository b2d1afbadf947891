"""Checkpoints: what a job saved, and whether it can be resumed from."""

from __future__ import annotations

from typing import Any

from stoker.domain.actor import Actor
from stoker.rundir.checkpoints import list_checkpoints
from stoker.service.context import Context, visible


def checkpoints(context: Context, actor: Actor, job_id: str) -> dict[str, Any]:
    """List the complete checkpoints of a job, oldest first, with the best one named. Raises `NotFound`."""
    visible(context, actor, job_id)
    found = list_checkpoints(context.job_dir(job_id).checkpoints)
    best = next((one for one in found if one["is_best"]), None)
    return {"job_id": job_id, "checkpoints": found, "best_checkpoint": best}
