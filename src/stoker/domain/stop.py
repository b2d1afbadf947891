"""The stop request: the durable wish that an attempt end, with who asked and why."""

from __future__ import annotations

from enum import StrEnum

from stoker.domain.values import value


class StopKind(StrEnum):
    """What the attempt should end as."""

    CANCELLED = "cancelled"
    PAUSED = "paused"
    STALLED = "stalled"
    TIMED_OUT = "timed_out"
    START_TIMEOUT = "start_timeout"
    SHUTDOWN = "shutdown"


ASKED_BY_USER = frozenset({StopKind.CANCELLED, StopKind.PAUSED})


@value(frozen=True, kw_only=True, slots=True)
class StopRequest:
    """Who asked for the stop, why, and when (seconds since 1970, UTC)."""

    kind: StopKind
    who: str
    why: str
    at: float


class StopStep(StrEnum):
    """How far a stop has gone. Each step is bounded in time; see `policy.next_stop_step`."""

    WAIT = "wait"
    ASK = "ask"
    TERMINATE = "terminate"
    KILL = "kill"
    GIVE_UP = "give_up"


def outranks(new: StopKind, old: StopKind) -> bool:
    """Tell whether a later stop request replaces an earlier one: only a cancel does, and only a pause gives way."""
    return new is StopKind.CANCELLED and old in (StopKind.PAUSED, StopKind.SHUTDOWN)
