"""The one table from errors to HTTP, and problems as RFC 9457 words them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from stoker.api.answers import problem_answer
from stoker.domain.errors import (
    Conflict,
    EpochLost,
    Forbidden,
    HomeUnusable,
    IdempotencyMismatch,
    IdTaken,
    IllegalMove,
    InvalidRequest,
    NotFound,
    Problem,
    SecretsGone,
    StokerError,
    StorageFull,
    Unauthenticated,
    Unavailable,
)

log = structlog.get_logger()

TYPE_PREFIX = "urn:stoker:problem:"
RETRY_SECONDS = "1"


class Refused(StokerError):
    """A request that HTTP itself refuses, with the status that says why."""

    def __init__(self, status: HTTPStatus, word: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        """Take the status, the word that names the problem, the sentence, and headers of the answer."""
        super().__init__(detail)
        self.status, self.word, self.headers = status, word, dict(headers or {})


TABLE: tuple[tuple[type[StokerError], HTTPStatus, str], ...] = (
    (InvalidRequest, HTTPStatus.BAD_REQUEST, "invalid-request"),
    (Unauthenticated, HTTPStatus.UNAUTHORIZED, "unauthenticated"),
    (Forbidden, HTTPStatus.FORBIDDEN, "forbidden"),
    (NotFound, HTTPStatus.NOT_FOUND, "not-found"),
    (IllegalMove, HTTPStatus.CONFLICT, "illegal-move"),
    (SecretsGone, HTTPStatus.CONFLICT, "secrets-gone"),
    (IdTaken, HTTPStatus.CONFLICT, "id-taken"),
    (IdempotencyMismatch, HTTPStatus.CONFLICT, "idempotency-mismatch"),
    (Conflict, HTTPStatus.CONFLICT, "conflict"),
    (StorageFull, HTTPStatus.INSUFFICIENT_STORAGE, "storage-full"),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
    (EpochLost, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
    (HomeUnusable, HTTPStatus.INTERNAL_SERVER_ERROR, "home-unusable"),
    (StokerError, HTTPStatus.INTERNAL_SERVER_ERROR, "internal"),
)
"""Errors and the status and word of each; the first that fits counts, so the narrower one stands before."""

_TITLES = {
    "invalid-request": "The request is not valid",
    "unauthenticated": "A valid key is needed",
    "forbidden": "This is not allowed",
    "not-found": "There is no such thing",
    "illegal-move": "The job's state does not allow this",
    "secrets-gone": "The job's secrets are gone",
    "id-taken": "The id is taken",
    "idempotency-mismatch": "The idempotency key came with another request",
    "storage-full": "The disk is full",
    "unavailable": "The server can't do this now",
    "home-unusable": "The home can't be used",
    "internal": "The server failed",
}
_HEADERS: dict[HTTPStatus, dict[str, str]] = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": 'Bearer realm="stoker"'},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": RETRY_SECONDS},
}


def explain(error: StokerError, path: str) -> Response:
    """Give the answer that an error means; `path` is that of the request."""
    if isinstance(error, Refused):
        return problem(error.status, error.word, str(error), path, headers=error.headers)
    status, word = next((status, word) for kind, status, word in TABLE if isinstance(error, kind))
    return problem(status, word, str(error), path, problems=_problems(error), **_more(error))


def problem(
    status: HTTPStatus,
    word: str,
    detail: str,
    path: str,
    *,
    problems: tuple[Problem, ...] = (),
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """Give a problem; `more` are members of its own beside the standard's."""
    content = {
        "type": TYPE_PREFIX + word,
        "title": _TITLES.get(word, status.phrase),
        "status": status.value,
        "detail": detail,
        "instance": path,
        "errors": [asdict(one) for one in problems],
        **more,
    }
    return problem_answer(content, {**_HEADERS.get(status, {}), **(headers or {})})


def crashed(path: str) -> Response:
    """Give the answer to a request that met a fault of this package. What it was is for the log alone."""
    detail = "Something in the server failed; nothing more is known here. The server's log has the details"
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", detail, path)


def no_such_route(path: str) -> Response:
    """Give the answer to a request for what is not there."""
    detail = f"There is no {path} here. GET /openapi.json lists what is"
    return problem(HTTPStatus.NOT_FOUND, "no-such-route", detail, path)


def handle_errors(app: FastAPI) -> None:
    """Make every error of a handler an answer of one form."""
    app.add_exception_handler(StokerError, _on_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)


async def _on_error(request: Request, error: Exception) -> Response:
    if not isinstance(request, Request):
        raise error  # a WebSocket: the door refuses it
    response = explain(error, request.url.path) if isinstance(error, StokerError) else crashed(request.url.path)
    if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request_failed", path=request.url.path, status=response.status_code, error=str(error))
    return response


async def _on_http_error(request: Request, error: Exception) -> Response:
    status = HTTPStatus(getattr(error, "status_code", HTTPStatus.INTERNAL_SERVER_ERROR))
    path, method = request.url.path, request.method
    match status:
        case HTTPStatus.NOT_FOUND:
            return no_such_route(path)
        case HTTPStatus.METHOD_NOT_ALLOWED:
            headers = getattr(error, "headers", None)
            allowed = (headers or {}).get("Allow", "another one")
            detail = f"{path} does not answer to {method}. Use {allowed}"
            return problem(status, "method-not-allowed", detail, path, headers=headers)
    return problem(status, "refused", str(getattr(error, "detail", status.phrase)), path)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    return explain(InvalidRequest(*map(_parameter_problem, faults)), request.url.path)


_WANTED = {"int_parsing": "a whole number", "float_parsing": "a number", "bool_parsing": "true or false"}


def _parameter_problem(fault: Mapping[str, Any]) -> Problem:
    """Say what is wrong with a parameter of the query or the path."""
    field, given = str(fault["loc"][-1]), str(fault.get("input"))[:60]
    if fault["type"] == "missing":
        return Problem(field=field, message="is missing", remedy="Give it")
    if wanted := _WANTED.get(fault["type"]):
        return Problem(field=field, message=f"is '{given}', not {wanted}", remedy=f"Give {wanted}")
    return Problem(field=field, message=f"is '{given}'", remedy=str(fault["msg"]))


def _problems(error: StokerError) -> tuple[Problem, ...]:
    return error.problems if isinstance(error, InvalidRequest) else ()


def _more(error: StokerError) -> dict[str, Any]:
    """Give what the original's answers had beside: the words of a verb that was refused."""
    if not isinstance(error, IllegalMove | SecretsGone):
        return {}
    return {"success": False, "job_id": error.job_id, "previous_status": error.state, "message": str(error)}
