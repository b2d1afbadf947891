"""Delete: remove an ended job with all that belongs to it. Its id stays taken for ever."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import Any

from stoker.domain.actor import Actor, Scope
from stoker.rundir.leftovers import DELETED_JOB
from stoker.service.context import Context, require, visible


def delete(context: Context, actor: Actor, job_id: str) -> dict[str, Any]:
    """Delete a job that has ended: its history first, then its files. Raises `NotFound`, `IllegalMove`."""
    require(actor, Scope.CANCEL)
    job, _ = visible(context, actor, job_id)
    attempts = context.store.attempts(job_id)
    context.store.delete(job_id, context.now())
    for attempt in attempts:
        context.engine.remove(attempt.id)
    _remove(context.job_dir(job_id).root)
    return {"success": True, "job_id": job_id, "previous_status": job.state.value, "message": "The job was deleted"}


def _remove(folder: str) -> None:
    """Delete a job's folder under another name, so that a later server knows what a crash left of it."""
    doomed = os.path.join(os.path.dirname(folder), DELETED_JOB + os.path.basename(folder))
    with contextlib.suppress(FileNotFoundError):
        os.rename(folder, doomed)
    shutil.rmtree(doomed, ignore_errors=True)
