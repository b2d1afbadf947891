"""The application: every route behind the one door."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import FastAPI

from stoker.api import health, jobs, keys, stream, websocket
from stoker.api.broadcast import Broadcaster
from stoker.api.door import Door
from stoker.api.errors import handle_errors
from stoker.api.feeding import FeedReader
from stoker.api.meters import Meters
from stoker.api.workers import Workers
from stoker.service.context import Context
from stoker.service.health import VERSION

MAX_BODY_BYTES = 64 << 20
THREADS = 8
"""Requests that are worked on at once."""

QUICK_THREADS = 2
"""Looks at one thing that are made at once. More threads would fight for the interpreter, and each take longer."""

READERS = 2
"""Threads that read the feed for streams, so that these keep nobody else waiting."""

DESCRIPTION = """A server for LLM fine-tuning jobs that tells the truth about them.

Every error is a problem (RFC 9457) whose `errors` name each field with its remedy. Without a key only the server's own
user is let in, over its unix socket or the loopback interface; all others send `Authorization: Bearer stk_…`."""


def create_app(context: Context, *, is_ready: Callable[[], bool], max_body: int = MAX_BODY_BYTES) -> FastAPI:
    """Put the HTTP faces of a server together. `is_ready` tells whether jobs are being scheduled.

    Bodies may have `max_body` bytes. There is no page of documentation, since it would load its script from elsewhere.
    """
    app = FastAPI(
        title="Stoker",
        version=VERSION,
        description=DESCRIPTION,
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    meters = Meters(context.store, is_ready, context.settings.slots)
    app.state.context, app.state.is_ready, app.state.meters = context, is_ready, meters
    app.state.seats = stream.Seats(meters)
    for part in (jobs, keys, stream, health, websocket):
        app.router.routes.extend(part.router.routes)  # an included router would cost each request a search more
    handle_errors(app)
    app.add_middleware(Door, context=context, is_ready=is_ready, meters=meters, max_body=max_body)
    app.openapi = describe(app)  # type: ignore[method-assign]  # FastAPI's own way to change it
    return app


def describe(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Give what describes the application for OpenAPI: as FastAPI does, but with the refusals that there really are."""
    problem = {"description": "A problem (RFC 9457)", "content": {"application/problem+json": {}}}
    made = app.openapi

    def description() -> dict[str, Any]:
        found = made()
        for operations in found["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
                operation["responses"]["default"] = problem
        for name in ("HTTPValidationError", "ValidationError"):
            found.get("components", {}).get("schemas", {}).pop(name, None)
        return found

    return description


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Run what streams need while the application serves."""
    kinds = {"workers": THREADS, "quick_workers": QUICK_THREADS, "health_worker": 1, "readers": READERS}
    started = {name: Workers(count, name) for name, count in kinds.items()}
    broadcaster = Broadcaster(FeedReader(app.state.context), started["readers"])
    app.state.context.store.on_commit(broadcaster.wake)
    app.state.broadcaster = broadcaster
    for name, workers in started.items():
        setattr(app.state, name, workers)
    try:
        yield
    finally:
        await broadcaster.stop()
        for workers in started.values():
            workers.close()
