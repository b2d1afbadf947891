"""Cancel: ask for the end of a job. Harmless when repeated."""

from __future__ import annotations

from typing import Any

from stoker.domain.actor import Actor, Scope
from stoker.domain.errors import IllegalMove
from stoker.domain.states import JobState
from stoker.domain.stop import StopKind, StopRequest
from stoker.rundir.secrets import forget_secrets
from stoker.service.context import Context, require, visible


def cancel(context: Context, actor: Actor, job_id: str) -> dict[str, Any]:
    """Cancel a job: at once if nothing of it runs, else its tree is stopped and the job ends when that is gone.

    Raises `NotFound`, and `IllegalMove` for a job that completed or failed.
    """
    require(actor, Scope.CANCEL)
    job, _ = visible(context, actor, job_id)
    if job.state is JobState.CANCELLED:
        return _answer(job_id, job.state, "The job was cancelled before")
    stop = StopRequest(kind=StopKind.CANCELLED, who=actor.owner, why="Cancelled by user", at=context.now())
    try:
        stopped = context.store.request_stop(job_id, stop)
    except IllegalMove as error:
        if error.state == JobState.CANCELLED:
            return _answer(job_id, JobState.CANCELLED, "The job was cancelled before")
        raise
    context.wake()
    if stopped.job.is_terminal:
        forget_secrets(context.job_dir(job_id))
        return _answer(job_id, stopped.previous, "The job was cancelled; nothing of it ran")
    return _answer(job_id, stopped.previous, "The job is being stopped; it is cancelled once its processes are gone")


def _answer(job_id: str, previous: JobState, message: str) -> dict[str, Any]:
    return {"success": True, "job_id": job_id, "previous_status": previous.value, "message": message}
