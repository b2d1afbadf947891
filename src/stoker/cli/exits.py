"""The exit codes of every command: one table."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from stoker.client import errors as client
from stoker.domain import errors as domain


class Exit(IntEnum):
    """What a command's exit code means. Scripts may rely on it."""

    OK = 0
    """Done; a job that was waited for has completed."""

    FAILED = 1
    """The job failed, or doctor found something that must be mended."""

    USAGE = 2
    """The command line or the request is wrong. The message names the field and the remedy."""

    UNREACHABLE = 3
    """No server answers."""

    NOT_FOUND = 4
    """There is no such job or key."""

    STALLED = 5
    """The job failed because it made no progress."""

    REFUSED = 6
    """What is there contradicts the request: the state of the job, or an id that is taken."""

    DENIED = 7
    """A key is needed, or the one in use may not do this."""

    SERVER = 70
    """The server could not do it: busy, disk full, or a fault of its own."""

    HOME = 73
    """The home can't be used: another server holds it, or it is on a network."""

    CANCELLED = 75
    """The job was cancelled."""

    OPEN = 78
    """The server was to be open to other machines, and there is no key yet."""

    PORT = 98
    """The port is in use."""

    DETACHED = 130
    """Ctrl-C. The job goes on."""


_ERRORS: tuple[tuple[type[domain.StokerError], Exit], ...] = (
    (client.ServerUnreachable, Exit.UNREACHABLE),
    (client.InvalidRequest, Exit.USAGE),
    (client.NotFound, Exit.NOT_FOUND),
    (client.Conflict, Exit.REFUSED),
    (client.Unauthenticated, Exit.DENIED),
    (client.Forbidden, Exit.DENIED),
    (client.ServerError, Exit.SERVER),
    (client.ClientError, Exit.USAGE),
    (domain.InvalidRequest, Exit.USAGE),
    (domain.NotFound, Exit.NOT_FOUND),
    (domain.Conflict, Exit.REFUSED),
    (domain.HomeUnusable, Exit.HOME),
    (domain.OpenBind, Exit.OPEN),
    (domain.PortInUse, Exit.PORT),
)


def of_error(error: domain.StokerError) -> Exit:
    """Give the exit code of an error; the first class in the table that fits."""
    return next((code for kind, code in _ERRORS if isinstance(error, kind)), Exit.SERVER)


def of_job(status: Mapping[str, Any]) -> Exit:
    """Give the exit code for the end of a job, as its status tells it."""
    match status["status"]:
        case "completed":
            return Exit.OK
        case "cancelled":
            return Exit.CANCELLED
        case _:
            return Exit.STALLED if status.get("reason") == "stalled" else Exit.FAILED
