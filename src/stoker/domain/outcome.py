"""The outcome of an attempt: one pure function of what was seen of its end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from stoker.domain.failure import Reason, exited_text, signalled_text, span, stalled_text
from stoker.domain.states import JobState
from stoker.domain.stop import StopKind

STOPPED_FROM_OUTSIDE = "The training process was told to stop by something other than Stoker and ended before its work"
"""The sentence of a trainer that saved and left at a SIGTERM which nobody here sent."""


class TrainerOutcome(StrEnum):
    """What the trainer itself says about its end, in outcome.json."""

    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """What was seen of an attempt's end. Exactly one of `exit_code` and `signal` is set once it was executed.

    `stop_sent` says that the stop reached the trainer (asked, terminated or killed) before the main process ended.
    """

    exit_code: int | None = None
    signal: int | None = None
    stop: StopKind | None = None
    stop_sent: bool = False
    stop_limit: float = 0.0
    launch_error: str | None = None
    out_of_memory: bool = False
    trainer_outcome: TrainerOutcome | None = None
    trainer_reason: Reason | None = None
    trainer_error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Conclusion:
    """The state that the job goes to and, for a failure, its reason and sentence."""

    state: JobState
    reason: Reason | None = None
    error: str | None = None


def conclude(end: End) -> Conclusion:
    """Decide what the job becomes. Exit 0 before the stop was sent wins over the stop; after it, the stop wins."""
    if end.launch_error is not None:
        return _failed(Reason.LAUNCH_FAILED, end.launch_error)
    if end.exit_code == 0 and end.trainer_outcome is TrainerOutcome.COMPLETED:
        return Conclusion(state=JobState.COMPLETED)
    if end.stop is not None and (end.stop_sent or end.trainer_outcome is TrainerOutcome.STOPPED):
        return _as_asked(end.stop, end.stop_limit)
    if end.stop is not None and end.exit_code is None and end.signal is None:  # it never ran
        return _as_asked(end.stop, end.stop_limit)
    return _by_itself(end)


def _as_asked(kind: StopKind, limit: float) -> Conclusion:
    match kind:
        case StopKind.CANCELLED:
            return Conclusion(state=JobState.CANCELLED)
        case StopKind.PAUSED:
            return Conclusion(state=JobState.PAUSED)
        case StopKind.SHUTDOWN:
            return Conclusion(state=JobState.QUEUED)
        case StopKind.STALLED:
            return _failed(Reason.STALLED, stalled_text(limit))
        case StopKind.TIMED_OUT:
            return _failed(Reason.TIMED_OUT, f"Training stopped - it reached its time limit of {span(limit)}")
        case StopKind.START_TIMEOUT:
            return _failed(Reason.START_TIMEOUT, f"Training did not start - no report within {span(limit)}")


def _by_itself(end: End) -> Conclusion:
    if end.trainer_outcome is TrainerOutcome.STOPPED:
        return _failed(Reason.EXITED, STOPPED_FROM_OUTSIDE)
    if end.exit_code == 0 and end.trainer_outcome is not TrainerOutcome.FAILED:
        return Conclusion(state=JobState.COMPLETED)
    if end.out_of_memory:
        return _failed(Reason.OUT_OF_MEMORY, "The kernel killed the training process: the host ran out of memory")
    if end.signal is not None:
        return _failed(Reason.SIGNALLED, signalled_text(end.signal))
    if end.exit_code is not None:
        text = end.trainer_error or exited_text(end.exit_code)
        return _failed(end.trainer_reason or Reason.EXITED, text)
    return _failed(Reason.LOST, "The end of the training process is not known")


def _failed(reason: Reason, error: str) -> Conclusion:
    return Conclusion(state=JobState.FAILED, reason=reason, error=error)
