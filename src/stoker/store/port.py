"""What the server asks of a store, and the values that go in and out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from stoker.domain.actor import Scope
from stoker.domain.events import Event, FeedItem
from stoker.domain.failure import Reason
from stoker.domain.job import Attempt, Job
from stoker.domain.spec import JobSpec
from stoker.domain.states import JobState
from stoker.domain.stop import StopRequest


@dataclass(frozen=True, kw_only=True, slots=True)
class NewJob:
    """A submit. `body_hash` identifies the request: the same id or key with the same hash is the same job."""

    id: str
    owner: str
    spec: JobSpec
    body_hash: str
    at: float
    user_id: str | None = None
    name: str | None = None
    priority: int = 0
    idempotency_key: str | None = None
    retried_from: str | None = None
    resume_from: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobQuery:
    """Which jobs to list, newest first. `after` is the `next` of the page before."""

    owner: str | None = None
    states: tuple[JobState, ...] = ()
    recipe: str | None = None
    user_id: str | None = None
    text: str | None = None
    limit: int = 50
    after: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One page of jobs, each with its newest attempt, and the key of the next page, `None` at the end."""

    jobs: tuple[tuple[Job, Attempt | None], ...]
    next: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricRow:
    """One line that a trainer reported. `seq` counts the valid lines of its attempt from 0 without a gap.

    `values` holds numbers only; what was NaN or infinite is null there and named in `flags`. `at` is UTC seconds.
    """

    seq: int
    at: float
    step: int | None
    epoch: float | None
    kind: str
    values: dict[str, float | None] = field(default_factory=dict)
    flags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class SupervisorNote:
    """One line of a supervisor's journal that belongs in the job's history."""

    at: float
    data: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Intake:
    """What was read of one attempt since `before`, to be taken in together with the new cursor or not at all.

    `progress` and `live` replace the attempt's; `log_ranges` are (from, to) in bytes of its log.
    """

    before: str
    after: str
    metrics: tuple[MetricRow, ...] = ()
    notes: tuple[SupervisorNote, ...] = ()
    progress: dict[str, Any] | None = None
    live: dict[str, Any] | None = None
    log_ranges: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """The end of an attempt and what the job becomes by it.

    `state` is terminal, paused, or queued (a new attempt will follow). With `lost` the attempt counts as an
    infrastructure loss. `ran` says that the trainer had begun, so that a job seen as pending passes through running.
    """

    state: JobState
    at: float
    ran: bool
    reason: Reason | None = None
    error: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    unclean: bool = False
    lost: bool = False
    not_before: float | None = None
    resume_from: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    receipt: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopped:
    """The answer to a stop request: the state before it, and the job after it."""

    previous: JobState
    job: Job


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """A key, without its secret: `prefix` is what people see, `digest` what is compared. Times are UTC seconds."""

    prefix: str
    digest: str
    owner: str
    scopes: frozenset[Scope]
    name: str
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None


class Store(Protocol):
    """The truth about jobs. Every call blocks, may be made from any thread, and is one transaction.

    A write that returned is durable. Every move of a job is guarded (`WHERE id AND state AND attempt AND epoch`) and
    appends one event and one feed row in the same transaction; a guarded write that finds the world moved on returns
    `None` or `False` and changes nothing. Any call may raise `Unavailable` (busy, locked) or `StorageFull`.

    `data` of the feed's rows, by kind:
    state     {"event", "state", "previous", "version", "attempt" (number), "stop" (kind), "reason", "error"}
    progress  {"attempt" (id), "number", "progress": the snapshot, "live": what the supervisor sees}
    metrics   {"attempt" (id), "number", "from", "to"}: sequence numbers, `to` not included
    log       {"attempt" (id), "number", "from", "to"}: bytes, `to` not included
    deleted   {}
    """

    def close(self) -> None:
        """Close every connection. May be called twice."""

    def ping(self) -> None:
        """Raise `Unavailable` unless the store answers."""

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every commit that added feed rows, in the thread that committed. It must not block."""

    # The server's term.
    def home_id(self) -> str:
        """Give the id of this store, made once at its creation."""

    def acquire_term(self, owner: str) -> int:
        """Begin a term and return its epoch, larger than every one before. Earlier owners' writes are refused."""

    # What users ask for.
    def submit(self, new: NewJob) -> tuple[Job, bool]:
        """Queue a job; the flag is False if the same request had made it before.

        Raises `IdTaken` (other body, other owner, or deleted id) and `IdempotencyMismatch`. Keys are an owner's own.
        """

    def is_known(self, new: NewJob) -> bool:
        """Tell whether the same request has made a job before. Raises as `submit` does, and changes nothing."""

    def request_stop(self, job_id: str, stop: StopRequest) -> Stopped:
        """Ask for a stop. Queued and paused jobs are cancelled at once; an active one keeps its state and gets the
        request. A stronger request replaces a weaker one, an equal or weaker one changes nothing.

        Raises `NotFound`, `IllegalMove` (terminal, or a pause of what does not run).
        """

    def resume(self, job_id: str, checkpoint: str | None, at: float) -> Job:
        """Queue a paused job again, to start from `checkpoint`; None means from none, whatever it had before.

        Raises `NotFound`, `IllegalMove`.
        """

    def move_to_head(self, job_id: str, at: float) -> Job:
        """Put a queued job before all others, and end its wait after a loss. Raises `NotFound`, `IllegalMove`."""

    def set_priority(self, job_id: str, priority: int, at: float) -> Job:
        """Change the priority of a job that is not terminal. Raises `NotFound`, `IllegalMove`."""

    def delete(self, job_id: str, at: float) -> None:
        """Delete a terminal job with all that belongs to it; its id stays taken. Raises `NotFound`, `IllegalMove`.

        Its metrics go first, in several short transactions; a call that was cut off is made again.
        """

    # What the scheduler does. `epoch` is its term's.
    def open_attempt(self, attempt: Attempt, epoch: int) -> Job | None:
        """Move a queued job without a stop request to pending and record its new attempt; None if it is not so now.

        Raises `EpochLost` if a later term has begun.
        """

    def set_handle(self, attempt_id: str, handle: dict[str, Any], epoch: int) -> bool:
        """Record how the engine finds the open attempt again."""

    def adopt(self, attempt_id: str, owner: str, epoch: int, lease_until: float) -> bool:
        """Take an open attempt of an earlier term over into this one, or renew its lease."""

    def mark_running(self, job_id: str, attempt: int, epoch: int, at: float) -> bool:
        """Move a pending job to running."""

    def take_in(self, attempt_id: str, epoch: int, intake: Intake) -> bool:
        """Take in metrics, progress and journal lines of an open attempt, all together with the cursor.

        False, and nothing changed, unless the attempt's cursor still is `intake.before`: so each is taken in once.
        """

    def conclude(self, job_id: str, attempt: int, epoch: int, ending: Ending) -> Job | None:
        """End the attempt and move its job; None if that was done before or a later term owns it.

        None too for an end in queued when a user asked for a stop meanwhile: look at the job again and end it as asked.
        Raises `IllegalMove` if the job can't go there from where it is.
        """

    # What is looked at.
    def job(self, job_id: str) -> Job | None:
        """Give a job as of the last commit."""

    def job_with_attempt(self, job_id: str) -> tuple[Job, Attempt | None] | None:
        """Give a job and its newest attempt, both of one moment."""

    def jobs(self, query: JobQuery) -> Page:
        """List jobs, newest first, in pages that stay right while jobs are added."""

    def count_by_state(self) -> dict[JobState, int]:
        """Count the jobs of each state, zeros included."""

    def queue(self, limit: int) -> list[Job]:
        """List the queued jobs in the order in which they will start, `not_before` disregarded."""

    def queue_position(self, job_id: str) -> int | None:
        """Give the place in the queue, 1 for the head; None for a job that is not queued."""

    def active_jobs(self) -> list[tuple[Job, Attempt]]:
        """List the pending and running jobs with their open attempts."""

    def attempts(self, job_id: str) -> list[Attempt]:
        """List the attempts of a job, oldest first."""

    def events(self, job_id: str, after: int = -1, limit: int = 1000) -> list[Event]:
        """List the events of a job with a version above `after`."""

    def metrics(self, attempt_id: str, after: int = -1, limit: int = 10_000) -> list[MetricRow]:
        """List the metric rows of an attempt with a sequence number above `after`."""

    def feed(self, after: int, limit: int = 500) -> list[FeedItem]:
        """List the feed rows with an id above `after`, of all owners."""

    def feed_bounds(self) -> tuple[int, int]:
        """Give the ids of the oldest row still kept and of the newest (0, 0 for an empty feed)."""

    def prune_feed(self, keep: int) -> int:
        """Drop the oldest feed rows so that `keep` (at least 1) remain; tell how many went. Short transactions."""

    # Keys.
    def add_key(self, key: ApiKey) -> None:
        """Record a key."""

    def keys(self, owner: str | None = None) -> Sequence[ApiKey]:
        """List the keys, of one owner or all."""

    def find_key(self, prefix: str) -> ApiKey | None:
        """Give the key with this prefix, revoked and expired ones included."""

    def revoke_key(self, prefix: str, at: float) -> bool:
        """Revoke a key; False if there is none that is still valid."""

    def touch_key(self, prefix: str, at: float) -> None:
        """Record that a key was used. Written once a minute at most, so that it costs a request nothing."""
