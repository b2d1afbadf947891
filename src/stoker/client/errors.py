"""What a client can meet beyond an answer.

ClientError
├── ServerUnreachable       no server answers there
│   └── AnswerLost          the connection broke after the request was sent, and it can't be sent twice
└── ServerError             the server refused: a status and its problem details
    ├── InvalidRequest      400, 413, 422: it lists each field with its remedy
    ├── Unauthenticated     401
    ├── Forbidden           403, 421
    ├── NotFound            404
    ├── Conflict            409
    └── Unavailable         429, 503: the same request may be sent again later
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stoker.domain.errors import Problem, StokerError


class ClientError(StokerError):
    """The root of what a client raises. Its text is a sentence for people."""


class ServerUnreachable(ClientError):
    """No server answers at the address."""


class AnswerLost(ServerUnreachable):
    """The request was sent and its answer lost. It may have been carried out, so look before asking again."""


class ServerError(ClientError):
    """The server refused a request. `details` is its problem object (RFC 9457), `problems` the faults by field."""

    def __init__(self, status: int, details: Mapping[str, Any], retry_after: float | None = None) -> None:
        """Take the HTTP status, the problem object, and the seconds after which to try again, if it said so."""
        self.status = status
        self.details = dict(details)
        self.problems = tuple(_problems(details.get("errors")))
        self.retry_after = retry_after
        super().__init__(self.sentence)

    @property
    def sentence(self) -> str:
        """What went wrong, in one line."""
        if self.problems:
            return "; ".join(str(problem) for problem in self.problems)
        told = self.details.get("detail") or self.details.get("title")
        return str(told) if told else f"The server answered with status {self.status}"


class InvalidRequest(ServerError):
    """The request is wrong; `problems` lists every fault that was found."""


class Unauthenticated(ServerError):
    """A key is needed, or the one given is not valid."""


class Forbidden(ServerError):
    """The caller may not do this, or not from there."""


class NotFound(ServerError):
    """There is no such thing, or it is not the caller's."""


class Conflict(ServerError):
    """What is there contradicts the request: a job's state, or an id that is taken."""


class Unavailable(ServerError):
    """The server can't do this now. Nothing was changed."""


_BY_STATUS: dict[int, type[ServerError]] = {
    400: InvalidRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: InvalidRequest,
    421: Forbidden,
    422: InvalidRequest,
    429: Unavailable,
    503: Unavailable,
}


def from_answer(status: int, details: Mapping[str, Any], retry_after: float | None = None) -> ServerError:
    """Give the error that a refusal stands for."""
    return _BY_STATUS.get(status, ServerError)(status, details, retry_after)


def _problems(listed: object) -> list[Problem]:
    items = listed if isinstance(listed, list) else []
    return [
        Problem(
            field=str(item.get("field", "")), message=str(item.get("message", "")), remedy=str(item.get("remedy", ""))
        )
        for item in items
        if isinstance(item, dict)
    ]
