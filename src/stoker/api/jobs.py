"""The routes of jobs, one for each verb of the service."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from stoker.api import bodies
from stoker.api.answers import answer
from stoker.api.routes import Body, Route, actor, house, known, quick
from stoker.api.shapes import CheckpointRequest, PriorityRequest, read_states
from stoker.domain.states import JobState
from stoker.service.cancel import cancel
from stoker.service.checkpoints import checkpoints
from stoker.service.delete import delete
from stoker.service.errors import errors
from stoker.service.events import events
from stoker.service.force_start import force_start
from stoker.service.list_jobs import list_jobs
from stoker.service.logs import logs
from stoker.service.metrics import MAX_POINTS, metrics
from stoker.service.pause import pause
from stoker.service.priority import priority
from stoker.service.queue import queue
from stoker.service.reconnect import reconnect
from stoker.service.request import SubmitRequest
from stoker.service.resume import resume
from stoker.service.status import status
from stoker.service.submit import Submitted, submit
from stoker.service.validate_spec import validate_spec
from stoker.store.port import JobQuery

BIG = 1 << 53

router = APIRouter(prefix="/api/training", route_class=Route, tags=["jobs"])


@router.get("/status/{job_id}")
@quick
def get_status(request: Request, job_id: str) -> Response:
    """The whole job, never older than the last acknowledged write."""
    return answer(status(house(request), actor(request), known(job_id)))


@router.post("/execute", openapi_extra=bodies.schema(SubmitRequest))
def post_execute(request: Request, body: Body, idempotency_key: Annotated[str | None, Header()] = None) -> Response:
    """Queue a job. The same id or `Idempotency-Key` with the same body gives the same job, `created` being false."""
    key = bodies.check_idempotency_key(idempotency_key)
    return answer(_executed(request, submit(house(request), actor(request), bodies.read(body, SubmitRequest), key)))


@router.post("/validate-spec", openapi_extra=bodies.schema(SubmitRequest))
def post_validate_spec(request: Request, body: Body) -> Response:
    """Check a request as `execute` would, and show the resolved spec and the plan. Nothing is queued."""
    return answer(validate_spec(house(request), actor(request), bodies.read(body, SubmitRequest)))


@router.get("/jobs")
def get_jobs(
    request: Request,
    *,
    status: Annotated[list[str] | None, Query()] = None,
    recipe: str | None = None,
    user_id: str | None = None,
    owner: str | None = None,
    text: str | None = None,
    limit: int = 50,
    after: str | None = None,
) -> Response:
    """Jobs, newest first, in pages: `next` is the `after` of the next one. `status` may be given more than once."""
    states = read_states(status or [])
    query = JobQuery(
        owner=owner, states=states, recipe=recipe, user_id=user_id, text=text or None, limit=limit, after=after or None
    )
    return answer(list_jobs(house(request), actor(request), query))


@router.get("/metrics/{job_id}")
def get_metrics(request: Request, job_id: str, since: str | None = None, limit: int = MAX_POINTS) -> Response:
    """The points that the trainer reported after `since`, which is the `next` of an earlier answer."""
    return answer(metrics(house(request), actor(request), known(job_id), since=since, limit=limit))


@router.get("/logs/{job_id}")
def get_logs(
    request: Request,
    job_id: str,
    limit: int = 100,
    offset: Annotated[int, Query(ge=-BIG, le=BIG)] = 0,
    attempt: Annotated[int | None, Query(ge=1, le=BIG)] = None,
) -> Response:
    """Lines of the log from line `offset` on; a negative offset counts from the end."""
    return answer(logs(house(request), actor(request), known(job_id), limit=limit, offset=offset, attempt=attempt))


@router.get("/queue")
def get_queue(request: Request) -> Response:
    """What runs, what waits, in which order and why."""
    return answer(queue(house(request), actor(request)))


@router.get("/checkpoints/{job_id}")
def get_checkpoints(request: Request, job_id: str) -> Response:
    """The complete checkpoints of a job."""
    return answer(checkpoints(house(request), actor(request), known(job_id)))


@router.get("/{job_id}/errors")
def get_errors(request: Request, job_id: str) -> Response:
    """What went wrong with a job, from its end and its log."""
    return answer(errors(house(request), actor(request), known(job_id)))


@router.get("/{job_id}/events")
def get_events(
    request: Request,
    job_id: str,
    after: Annotated[int, Query(ge=-1, le=BIG)] = -1,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> Response:
    """The history of a job: its events with a version above `after`."""
    return answer(events(house(request), actor(request), known(job_id), after=after, limit=limit))


@router.post("/cancel/{job_id}")
def post_cancel(request: Request, job_id: str) -> Response:
    """Ask for the end of a job. Harmless when repeated."""
    return answer(cancel(house(request), actor(request), known(job_id)))


@router.post("/pause/{job_id}")
def post_pause(request: Request, job_id: str) -> Response:
    """Ask a job to save its work and stop, so that it can be resumed."""
    return answer(pause(house(request), actor(request), known(job_id)))


@router.post("/resume/{job_id}", openapi_extra=bodies.schema(CheckpointRequest, is_required=False))
def post_resume(request: Request, job_id: str, body: Body, checkpoint_path: str | None = None) -> Response:
    """Queue a paused job again, from its newest checkpoint that verifies unless another of its own is named."""
    named = bodies.read(body, CheckpointRequest).checkpoint_path if body else None
    return answer(resume(house(request), actor(request), known(job_id), checkpoint_path or named))


@router.post("/{job_id}/force-start")
def post_force_start(request: Request, job_id: str) -> Response:
    """Move a queued job to the head, or make a new job like one that ended."""
    return answer(force_start(house(request), actor(request), known(job_id)))


@router.post("/{job_id}/priority", openapi_extra=bodies.schema(PriorityRequest))
def post_priority(request: Request, job_id: str, body: Body) -> Response:
    """Change the priority of a job that has not ended; higher starts first."""
    value = bodies.read(body, PriorityRequest).priority
    return answer(priority(house(request), actor(request), known(job_id), value))


@router.post("/reconnect")
def post_reconnect(request: Request) -> Response:
    """Compare the store with what really runs, now, and say what was found."""
    return answer(reconnect(house(request), actor(request)))


@router.delete("/{job_id}")
def delete_job(request: Request, job_id: str) -> Response:
    """Delete a job that ended, with its files. Its id stays taken."""
    return answer(delete(house(request), actor(request), known(job_id)))


def _executed(request: Request, submitted: Submitted) -> dict[str, object]:
    """Give what the submit of a job answers: where it stands now, and whether this request made it."""
    job = submitted.job
    position = house(request).store.queue_position(job.id) if job.state is JobState.QUEUED else None
    place = f"; its place in the queue is {position}" if position else ""
    return {
        "success": True,
        "job_id": job.id,
        "status": job.state.value,
        "message": f"The job was queued{place}" if submitted.created else "The same request had made this job before",
        "queue_position": position,
        "created": submitted.created,
        "name": job.name,
        "user_id": job.user_id,
        "recipe": job.spec.recipe,
        "priority": job.priority,
    }
