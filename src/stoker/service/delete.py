"""Delete: remove an ended job with all that belongs to it. Its id stays taken for ever."""

from __future__ import annotations

import shutil
from typing import Any

from stoker.domain.actor import Actor, Scope
from stoker.service.context import Context, require, visible


def delete(context: Context, actor: Actor, job_id: str) -> dict[str, Any]:
    """Delete a job that has ended: its history first, then its files. Raises `NotFound`, `IllegalMove`."""
    require(actor, Scope.CANCEL)
    job, _ = visible(context, actor, job_id)
    attempts = context.store.attempts(job_id)
    context.store.delete(job_id, context.now())
    for attempt in attempts:
        context.engine.remove(attempt.id)
    shutil.rmtree(context.job_dir(job_id).root, ignore_errors=True)
    return {"success": True, "job_id": job_id, "previous_status": job.state.value, "message": "The job was deleted"}
