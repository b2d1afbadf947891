"""Pause: save the work, end the processes, keep the job."""

from __future__ import annotations

from typing import Any

from stoker.domain.actor import Actor, Scope
from stoker.domain.states import JobState
from stoker.domain.stop import StopKind, StopRequest
from stoker.service.context import Context, require, visible
from stoker.service.view import iso


def pause(context: Context, actor: Actor, job_id: str) -> dict[str, Any]:
    """Ask a pending or running job to stop where it is; it is paused once its processes are gone.

    Raises `NotFound`, `IllegalMove` (not pending or running, or already being cancelled).
    """
    require(actor, Scope.CANCEL)
    job, _ = visible(context, actor, job_id)
    if job.state is JobState.PAUSED:
        return _answer(job_id, job.state, job.paused_at, "The job was paused before")
    stop = StopRequest(kind=StopKind.PAUSED, who=actor.owner, why="Paused by user", at=context.now())
    stopped = context.store.request_stop(job_id, stop)
    context.wake()
    return _answer(job_id, stopped.previous, None, "The job saves its work and is paused once its processes are gone")


def _answer(job_id: str, previous: JobState, paused_at: float | None, message: str) -> dict[str, Any]:
    return {
        "success": True,
        "job_id": job_id,
        "previous_status": previous.value,
        "paused_at": iso(paused_at),
        "message": message,
    }
