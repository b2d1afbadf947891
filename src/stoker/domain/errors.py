"""Every error that a caller can meet.

StokerError
├── InvalidRequest          the request is wrong; it lists each field with its remedy
├── Unauthenticated         no valid key, and the caller is not the server's own user
├── Forbidden               the caller is known and may not do this
├── NotFound                there is no such job, attempt, key or checkpoint (or it is not the caller's)
├── Conflict                the request contradicts what is there
│   ├── IllegalMove         the job's state does not allow it
│   ├── SecretsGone         the job can't be run again without the secrets that it had
│   ├── IdTaken             the id belongs to another job, or to a deleted one
│   └── IdempotencyMismatch the same key came with another body
├── EpochLost               another server has taken over; the work is dropped
├── Unavailable             try again: the store is busy, the disk is full, the server is starting
├── HomeUnusable            the home can't be used: locked by another server, on a network, of a newer version
├── OpenBind                strangers could reach the server, and there is no key to tell them apart
└── PortInUse               another program listens there; nothing was touched
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One fault of a request: the field as a dotted path, what is wrong with it, and what to do."""

    field: str
    message: str
    remedy: str

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.field}: {self.message}. {self.remedy}"


class StokerError(Exception):
    """The root of every error of this package. Its text is a sentence for people."""


class InvalidRequest(StokerError):
    """The request is wrong. `problems` lists every fault that was found, not only the first."""

    def __init__(self, *problems: Problem) -> None:
        """Take the faults; at least one."""
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


def invalid(field: str, message: str, remedy: str) -> InvalidRequest:
    """Make an `InvalidRequest` with a single fault."""
    return InvalidRequest(Problem(field=field, message=message, remedy=remedy))


class Unauthenticated(StokerError):
    """No valid key was given, and the caller is not the server's own user."""


class Forbidden(StokerError):
    """The caller is known and may not do this."""


class NotFound(StokerError):
    """There is no such thing, or it is not the caller's."""


class Conflict(StokerError):
    """The request contradicts what is there."""


class IllegalMove(Conflict):
    """The job's state does not allow the request."""

    def __init__(self, job_id: str, state: str, verb: str) -> None:
        """Take the job, its state as it stands, and the verb that was refused."""
        super().__init__(f"Job {job_id} is {state}; it can't be asked to {verb}")
        self.job_id, self.state, self.verb = job_id, state, verb


class SecretsGone(Conflict):
    """The job ended and its secrets were removed, so that it can't be run again."""

    def __init__(self, job_id: str, state: str) -> None:
        """Take the job and its state as it stands."""
        super().__init__(f"Job {job_id} is {state} and its secrets were removed at its end. Submit it anew with them")
        self.job_id, self.state = job_id, state


class IdTaken(Conflict):
    """The id belongs to another job, or to one that was deleted."""


class IdempotencyMismatch(Conflict):
    """The same idempotency key came with another body."""


class EpochLost(StokerError):
    """Another server has taken over; what this one was about to write is dropped."""


class Unavailable(StokerError):
    """The server can't do this now; nothing was changed and the same request may be sent again."""


class StorageFull(Unavailable):
    """The disk of the home or of the runs is full."""


class HomeUnusable(StokerError):
    """The home can't be used as it is."""


class HomeLocked(HomeUnusable):
    """Another server runs on this home."""

    def __init__(self, home: str, pid: int | None) -> None:
        """Take the home and the pid of the server that holds it, `None` if that can't be told."""
        holder = f"pid {pid}" if pid is not None else "another process"
        super().__init__(f"A server already runs on {home} ({holder}). Stop it, or give this one another --home")
        self.pid = pid


class OpenBind(StokerError):
    """The address can be reached from other machines while no key is valid; nothing was touched."""


class PortInUse(StokerError):
    """Another program listens on the address; nothing was touched."""
