"""When a call that failed is sent again: decided here once, carried out by each transport."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

from stoker.client.calls import Call, Reply, retry_after
from stoker.client.errors import AnswerLost, ServerUnreachable

TIMEOUT_SECONDS = 30.0
"""How long one answer may take."""

PATIENCE_SECONDS = 15.0
RECONNECT_SECONDS = 300.0
"""How long a call, and a feed, goes on trying to reach a server that was there before."""

FIRST_WAIT_SECONDS = 0.05
WAIT_CEILING_SECONDS = 2.0
BUSY = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Send:
    """Send the call; over a connection that was kept open only if `may_reuse`."""

    may_reuse: bool


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait before the next try."""

    seconds: float


@dataclass(frozen=True, slots=True)
class NoConnection:
    """Nothing was sent: nobody listens there."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Broken:
    """The connection broke, and the request may have arrived. A kept one may just have been closed meanwhile."""

    error: BaseException
    was_kept: bool = False


Outcome = Reply | NoConnection | Broken
Steps = Generator[Send | Sleep, Outcome, Reply]


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """Whom the call is for, how many seconds it may go on trying, and whether the server was there before.

    A server that was never reached is not waited for: it is probably not there at all. One that was reached is
    probably restarting.
    """

    address: str
    patience: float
    was_reached: bool


def persist(call: Call, terms: Terms, clock: Callable[[], float] = time.monotonic) -> Steps:
    """Give the steps of carrying out a call; each `Send` is answered with its outcome, the result is the reply.

    The first step is a `Send`; what a `Sleep` is answered with is not looked at.

    Raises `ServerUnreachable`, or `AnswerLost` for a call that can't be sent twice.
    """
    ends, tries, was_reached = clock() + terms.patience, 0, terms.was_reached
    while True:
        outcome = yield Send(may_reuse=call.repeatable and tries == 0)
        if isinstance(outcome, Reply) and outcome.status not in BUSY:
            return outcome
        tries += 1
        if isinstance(outcome, Broken) and outcome.was_kept:
            continue
        was_reached = was_reached or not isinstance(outcome, NoConnection)
        wait = _wait(tries, outcome)
        if not was_reached or clock() + wait > ends or (isinstance(outcome, Broken) and not call.repeatable):
            return _give_up(call, terms.address, outcome)
        yield Sleep(wait)


def _wait(tries: int, outcome: Outcome) -> float:
    whole = min(FIRST_WAIT_SECONDS * 2.0 ** (tries - 1), WAIT_CEILING_SECONDS)
    asked = retry_after(outcome) if isinstance(outcome, Reply) else None
    return max(asked or 0.0, whole * (0.5 + 0.5 * random.random()))  # noqa: S311 - spreads retries, hides nothing


def _give_up(call: Call, address: str, outcome: Outcome) -> Reply:
    match outcome:
        case Reply():
            return outcome
        case NoConnection(error):
            raise unreachable(address, error) from error
        case Broken(error) if call.repeatable:
            raise ServerUnreachable(
                f"{address} took the request and gave no answer ({_why(error)}). {_remedy(call)}"
            ) from error
        case Broken(error):
            raise AnswerLost(
                f"The connection to {address} broke before the answer came ({_why(error)}). "
                "The request may have been carried out: look before you send it again"
            ) from error


def _remedy(call: Call) -> str:
    """Say how to try again; what would make a second job if sent anew is told with what keeps it one."""
    if (key := call.headers.get("Idempotency-Key")) is None:
        return "Try again; its log may tell more"
    if call.body and (job := call.body.get("execution_id")):
        return f"Try again with the same id, {job}: that makes no second job"
    return (
        "The job may have been queued: look with `stoker ls` before you submit it anew. "
        f"Only the same request with the key {key}, or with an id of your own (--id), can be sent twice without harm"
    )


def unreachable(address: str, error: BaseException) -> ServerUnreachable:
    """Say that no server answers, why, and what to do."""
    return ServerUnreachable(
        f"No server answers at {address} ({_why(error)}). "
        "Start one with `stoker serve`, or say where it is with --url or STOKER_URL"
    )


def _why(error: BaseException) -> str:
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return told or type(error).__name__
