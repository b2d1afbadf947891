"""A job and its attempts, as the store keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stoker.domain.failure import Reason
from stoker.domain.spec import JobSpec
from stoker.domain.states import TERMINAL, JobState
from stoker.domain.stop import StopRequest


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What a user asked for: one spec, one id, one state. Times are seconds since 1970, UTC.

    `attempt` is the number of the newest attempt, 0 before the first; `version` grows by one with every event.
    `head` is above 0 for a job that was moved to the head of the queue; the highest comes first.
    `not_before` is the earliest time of the next start after a loss.
    `lost_attempts` counts attempts lost to machines and supervisors, which are not charged to the user.
    """

    id: str
    owner: str
    spec: JobSpec
    state: JobState
    created_at: float
    updated_at: float
    sequence: int
    user_id: str | None = None
    name: str | None = None
    priority: int = 0
    head: int = 0
    version: int = 0
    attempt: int = 0
    epoch: int = 0
    queued_at: float | None = None
    not_before: float | None = None
    started_at: float | None = None
    completed_at: float | None = None
    paused_at: float | None = None
    stop: StopRequest | None = None
    reason: Reason | None = None
    error: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    unclean: bool = False
    lost_attempts: int = 0
    retried_from: str | None = None
    resume_from: str | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the job never changes again."""
        return self.state in TERMINAL


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One try to carry out a job.

    `cursor` is the place up to which its records were taken in, opaque but to its channel. `progress` holds the
    latest figures in the original's field names. `live` holds what the supervisor says of it now: phase,
    watched_by, suspect, pids. `receipt` is the proof that its GPUs are free. Times are seconds since 1970, UTC.
    """

    id: str
    job_id: str
    number: int
    engine: str
    lease_epoch: int
    created_at: float
    lease_owner: str = ""
    lease_until: float = 0.0
    handle: dict[str, Any] = field(default_factory=dict)
    gpus: tuple[str, ...] = ()
    overrides: dict[str, Any] = field(default_factory=dict)
    cursor: str = ""
    progress: dict[str, Any] = field(default_factory=dict)
    live: dict[str, Any] = field(default_factory=dict)
    started_at: float | None = None
    ended_at: float | None = None
    end: dict[str, Any] | None = None
    receipt: dict[str, Any] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the attempt has not ended yet."""
        return self.ended_at is None
