"""Pure decisions about a live attempt: is it stalled, what is the next step of a stop, when to retry."""

from __future__ import annotations

from stoker.domain.failure import span
from stoker.domain.limits import CHECKPOINT_CEILING_SECONDS, UNKILLABLE_SECONDS, Limits
from stoker.domain.progress import TRUSTED, Phase, WatchedBy
from stoker.domain.stop import StopKind, StopStep
from stoker.domain.values import value

INFRASTRUCTURE_RETRIES = 3
"""How many attempts a job may lose to machines and supervisors before it fails as lost."""

FIRST_BACKOFF_SECONDS = 10.0
BACKOFF_CEILING_SECONDS = 600.0


@value(frozen=True, kw_only=True, slots=True)
class Signs:
    """What the supervisor has seen of a live trainer; times in seconds on one monotonic clock."""

    now: float
    executed_at: float
    reported: bool
    phase: Phase
    progress_at: float
    watched_by: WatchedBy


@value(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What is to be done: `stop` says that the attempt must end and why, `suspect` is a warning in words."""

    stop: StopKind | None = None
    limit: float = 0.0
    suspect: str | None = None


HEALTHY = Verdict()


def judge(signs: Signs, limits: Limits) -> Verdict:
    """Judge a live trainer: within its limits, suspect, or to be stopped. Inferred signals only warn."""
    elapsed = signs.now - signs.executed_at
    if limits.time_limit_seconds is not None and elapsed > limits.time_limit_seconds:
        return Verdict(stop=StopKind.TIMED_OUT, limit=limits.time_limit_seconds)
    if not signs.reported and limits.start_seconds is not None and elapsed > limits.start_seconds:
        return Verdict(stop=StopKind.START_TIMEOUT, limit=limits.start_seconds)
    allowed, silent = limits.silence_allowed(signs.phase), signs.now - signs.progress_at
    if silent <= allowed:
        return HEALTHY
    if signs.watched_by in TRUSTED or limits.stall_seconds is not None:
        return Verdict(stop=StopKind.STALLED, limit=allowed)
    return Verdict(suspect=f"no sign of progress for more than {span(allowed)} (watched by {signs.watched_by})")


@value(frozen=True, kw_only=True, slots=True)
class StopSigns:
    """How far a stop is; times in seconds on one monotonic clock, `None` for what has not happened."""

    now: float
    kind: StopKind
    can_ask: bool
    asked_at: float | None
    saving_at: float | None
    terminated_at: float | None
    killed_at: float | None


def next_stop_step(signs: StopSigns, limits: Limits) -> StopStep:
    """Give the next step of a stop: ask, then terminate, then kill, each within its bound."""
    if signs.killed_at is not None:
        return StopStep.GIVE_UP if signs.now - signs.killed_at >= UNKILLABLE_SECONDS else StopStep.WAIT
    if signs.terminated_at is not None:
        return StopStep.KILL if signs.now - signs.terminated_at >= limits.grace_seconds else StopStep.WAIT
    if signs.asked_at is None:
        return StopStep.ASK if signs.can_ask else StopStep.TERMINATE
    return StopStep.WAIT if signs.now < asking_ends(signs, limits) else StopStep.TERMINATE


def asking_ends(signs: StopSigns, limits: Limits) -> float:
    """Give the time until which a stop waits for the checkpoint that it asked for.

    A trainer that hangs is asked and terminated at once. Saving that advances extends the wait, up to a ceiling.
    """
    asked = signs.asked_at if signs.asked_at is not None else signs.now
    if signs.kind in (StopKind.STALLED, StopKind.START_TIMEOUT):
        return asked
    latest = max(asked, signs.saving_at if signs.saving_at is not None else asked)
    return min(latest + limits.checkpoint_seconds, asked + max(CHECKPOINT_CEILING_SECONDS, limits.checkpoint_seconds))


def retry_after(losses: int, jitter: float) -> float | None:
    """Give the seconds to wait before the next attempt after `losses` infrastructure losses, `None` if spent.

    `jitter` is a number from 0 to 1 that spreads the starts over half of the wait.
    """
    if losses > INFRASTRUCTURE_RETRIES:
        return None
    whole = min(FIRST_BACKOFF_SECONDS * 2.0 ** (losses - 1), BACKOFF_CEILING_SECONDS)
    return whole * (0.5 + 0.5 * jitter)
