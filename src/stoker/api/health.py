"""How the server is: for people, for what restarts it, and for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from stoker.api.answers import answer
from stoker.api.meters import CONTENT_TYPE, Meters
from stoker.api.routes import Route, actor
from stoker.api.workers import Workers
from stoker.domain.actor import Scope
from stoker.domain.errors import Unavailable
from stoker.service.context import require
from stoker.service.health import health

router = APIRouter(route_class=Route, tags=["health"])


@router.head("/health", include_in_schema=False)
@router.get("/health")
async def get_health(request: Request) -> Response:
    """The server, its store, its queue and its GPUs. Open to everybody; tells of no job.

    It has a thread of its own, so that it answers while every other one is taken.
    """
    app = request.app.state
    apart: Workers = app.health_worker
    return answer(await apart.run(health, app.context, is_ready=app.is_ready()))


@router.head("/ready", include_in_schema=False)
@router.get("/ready")
async def get_ready(request: Request) -> Response:
    """Whether jobs are being scheduled: not before every job that may run was looked for."""
    if not request.app.state.is_ready():
        raise Unavailable("The server is still looking for the jobs that run. Ask again soon")
    return answer({"ready": True})


@router.get("/metrics")
def get_server_metrics(request: Request) -> Response:
    """The server's own figures for Prometheus."""
    require(actor(request), Scope.READ)
    meters: Meters = request.app.state.meters
    return Response(meters.report(), media_type=CONTENT_TYPE)
