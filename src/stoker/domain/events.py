"""What is written down of a job's life: events in its history, and rows of the feed that watchers follow."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from stoker.domain.states import JobState


class EventKind(StrEnum):
    """What happened to a job. Only `MOVED` changes its state."""

    SUBMITTED = "submitted"
    MOVED = "moved"
    STOP_REQUESTED = "stop_requested"
    PRIORITY_CHANGED = "priority_changed"
    MOVED_TO_HEAD = "moved_to_head"
    ATTEMPT_OPENED = "attempt_opened"
    ATTEMPT_LOST = "attempt_lost"
    ATTEMPT_ENDED = "attempt_ended"
    SUPERVISOR_NOTE = "supervisor_note"
    ADOPTED = "adopted"


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One line of a job's history. `version` is strictly one more than that of the event before it."""

    job_id: str
    version: int
    kind: EventKind
    at: float
    attempt: int = 0
    source: JobState | None = None
    target: JobState | None = None
    data: dict[str, Any] = field(default_factory=dict)


class FeedKind(StrEnum):
    """What a row of the feed tells."""

    STATE = "state"
    PROGRESS = "progress"
    METRICS = "metrics"
    LOG = "log"
    DELETED = "deleted"


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedItem:
    """One row of the feed. Ids grow without gaps in the order of the commits.

    `data` is small: the new state, the latest progress, or the range (`from`, `to`) of metric sequence numbers or
    log bytes of an attempt, which the reader fetches from where they are kept.
    """

    id: int
    job_id: str
    owner: str
    kind: FeedKind
    at: float
    data: dict[str, Any] = field(default_factory=dict)
