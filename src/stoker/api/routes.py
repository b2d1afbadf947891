"""What every route has in common: its house, its caller, and a short way to its handler."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection
from starlette.responses import Response

from stoker.api.callers import Caller
from stoker.api.workers import Workers
from stoker.domain.actor import Actor
from stoker.domain.errors import InvalidRequest, NotFound, Problem
from stoker.domain.ids import ID_PATTERN
from stoker.service.context import Context

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
E = TypeVar("E", bound=Callable[..., Response])
QUICK = "is_quick"


def house(request: Request) -> Context:
    """Give the parts of the server that verbs work with."""
    context: Context = request.app.state.context
    return context


def workers(connection: HTTPConnection, *, is_quick: bool = False) -> Workers:
    """Give the threads in which handlers run; those that are quick have some for themselves."""
    state = connection.app.state
    found: Workers = state.quick_workers if is_quick else state.workers
    return found


def quick(endpoint: E) -> E:
    """Mark a handler that only looks one thing up: it waits for none that writes, or reads much."""
    setattr(endpoint, QUICK, True)
    return endpoint


def caller(request: Request) -> Caller:
    """Give who makes the request, as the door found out. Without that no handler runs."""
    found: Caller = request.scope["state"]["caller"]
    return found


def actor(request: Request) -> Actor:
    """Give in whose name the request is carried out."""
    return caller(request).actor


def known(job_id: str) -> str:
    """Give an id that may be a job's. Raises `NotFound`, in the words of an id that is nobody's, for any other."""
    if not ID_PATTERN.fullmatch(job_id):
        raise NotFound("There is no such job: that is not the form of a job's id. List the jobs to see which there are")
    return job_id


async def _read_body(request: Request) -> bytes:
    return await request.body()


Body = Annotated[bytes, Depends(_read_body)]
"""A handler's parameter for the bytes of the body, read before the handler's thread begins."""


class Route(APIRoute):
    """A route that knows its parameters: an unknown one is refused rather than passed over.

    A handler that takes nothing but the request and the path is called without FastAPI's search for dependencies,
    which would cost more than the answer.
    """

    def get_route_handler(self) -> Handler:
        """Give what answers a request."""
        names = {field.alias for field in self.dependant.query_params}
        is_plain = not (names or self.dependant.dependencies or self.dependant.header_params or self.body_field)
        endpoint = self.endpoint if inspect.iscoroutinefunction(self.endpoint) else _in_thread(self.endpoint)
        self.dependant.call = endpoint
        answer = _called_plainly(endpoint) if is_plain else super().get_route_handler()

        async def handle(request: Request) -> Response:
            if request.scope["query_string"]:
                _check_names(request, names)
            return await answer(request)

        return handle


def _called_plainly(endpoint: Callable[..., Awaitable[Response]]) -> Handler:
    async def handle(request: Request) -> Response:
        return await endpoint(request, **request.path_params)

    return handle


def _in_thread(endpoint: Callable[..., Response]) -> Callable[..., Awaitable[Response]]:
    is_quick = hasattr(endpoint, QUICK)

    async def call(request: Request, **values: Any) -> Response:
        return await workers(request, is_quick=is_quick).run(endpoint, request, **values)

    return call


def _check_names(request: Request, names: set[str]) -> None:
    problems = [_unknown(name, names) for name in dict.fromkeys(request.query_params) if name not in names]
    if problems:
        raise InvalidRequest(*problems)


def _unknown(name: str, names: set[str]) -> Problem:
    close = difflib.get_close_matches(name, names, n=1)
    listed = f"Known here are {', '.join(sorted(names))}" if names else "This route has no parameters"
    return Problem(
        field=name[:60],
        message="is not a parameter of this route",
        remedy=f"Did you mean '{close[0]}'?" if close else listed,
    )
