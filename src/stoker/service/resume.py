"""Resume: let a paused job go on from a checkpoint that verifies."""

from __future__ import annotations

import os
from typing import Any

from stoker.domain.actor import Actor, Scope
from stoker.domain.errors import IllegalMove, invalid
from stoker.domain.states import JobState
from stoker.rundir.checkpoints import newest_verified, verify
from stoker.service.context import Context, require, visible


def resume(context: Context, actor: Actor, job_id: str, checkpoint_path: str | None = None) -> dict[str, Any]:
    """Queue a paused job again. Without a path it goes on from its newest checkpoint that verifies, else anew.

    Raises `NotFound`, `IllegalMove`, and `InvalidRequest` for a checkpoint that is not this job's or not whole.
    """
    require(actor, Scope.SUBMIT)
    job, _ = visible(context, actor, job_id)
    if job.state is not JobState.PAUSED:
        raise IllegalMove(job_id, job.state.value, "resume")
    root = context.job_dir(job_id).checkpoints
    checkpoint = _own(root, checkpoint_path) if checkpoint_path else newest_verified(root)
    queued = context.store.resume(job_id, checkpoint, context.now())
    context.wake()
    return {
        "success": True,
        "job_id": job_id,
        "previous_status": JobState.PAUSED.value,
        "new_status": queued.state.value,
        "checkpoint_path": checkpoint,
        "queue_position": context.store.queue_position(job_id),
        "message": "The job is queued to go on from its checkpoint"
        if checkpoint
        else "The job is queued to start anew",
    }


def _own(root: str, path: str) -> str:
    """Give the checkpoint that `path` or a bare folder name means; only the job's own count."""
    resolved = os.path.realpath(os.path.join(root, path))
    if os.path.dirname(resolved) != os.path.realpath(root):
        raise invalid("checkpoint_path", "is not a checkpoint of this job", "Choose one that GET checkpoints lists")
    if problem := verify(resolved):
        raise invalid("checkpoint_path", f"can't be resumed from: {problem}", "Choose another, or leave it out")
    return resolved
