"""Every change of a job: one guarded write, with its events and feed rows in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from stoker.domain.errors import IllegalMove, NotFound, Unavailable
from stoker.domain.events import Event, EventKind, FeedKind
from stoker.domain.job import Job
from stoker.domain.states import TERMINAL, JobState, may_move
from stoker.domain.stop import StopKind, StopRequest, outranks
from stoker.store.codec import JOB_COLUMNS, decode_job, encode_event, encode_job
from stoker.store.port import Stopped
from stoker.store.schema import events, jobs
from stoker.store.transaction import Transaction

FOR_CHANGE = select(*JOB_COLUMNS).where(jobs.c.id == bindparam("id")).with_for_update()
_GUARDED = update(jobs).where(
    jobs.c.id == bindparam("_id"),
    jobs.c.state == bindparam("_state"),
    jobs.c.attempt == bindparam("_attempt"),
    jobs.c.epoch == bindparam("_epoch"),
    jobs.c.version == bindparam("_version"),
)
_EVENT = insert(events)

_TOLD = frozenset(
    {
        EventKind.SUBMITTED,
        EventKind.MOVED,
        EventKind.STOP_REQUESTED,
        EventKind.PRIORITY_CHANGED,
        EventKind.MOVED_TO_HEAD,
    }
)  # the feed has these; the rest is read in the history
_NOTHING: Mapping[str, object] = MappingProxyType({})
_VERBS = {StopKind.CANCELLED: "cancel", StopKind.PAUSED: "pause"}


def find(tx: Transaction, job_id: str) -> Job:
    """Read a job that is about to be changed. Raises `NotFound`."""
    row = tx.connection.execute(FOR_CHANGE, {"id": job_id}).first()
    if row is None:
        raise NotFound(f"There is no job {job_id}")
    return decode_job(row)


def change(tx: Transaction, before: Job, after: Job, *happened: Event) -> Job | None:
    """Make `after` of `before`, a version for each event; None, and nothing changed, if the job is not as `before`.

    Raises `IllegalMove` if one of the events is a move that the table does not have.
    """
    for event in happened:
        _check(before, event)
    after = replace(after, version=before.version + len(happened))
    old, new = encode_job(before), encode_job(after)
    changes = {name: value for name, value in new.items() if value != old[name]}
    guard = {f"_{name}": old[name] for name in ("id", "state", "attempt", "epoch", "version")}
    if tx.connection.execute(_GUARDED, changes | guard).rowcount != 1:
        return None
    write_events(tx, after, [replace(event, version=before.version + i) for i, event in enumerate(happened, 1)])
    return after


def write_events(tx: Transaction, job: Job, happened: list[Event]) -> None:
    """Write events of a job, and tell the feed of those that change what is shown of it."""
    tx.connection.execute(_EVENT, [encode_event(event) for event in happened])
    for event in happened:
        if event.kind in _TOLD:
            tx.tell(FeedKind.STATE, (job.id, job.owner), event.at, shown(job, event))


def shown(job: Job, event: Event) -> dict[str, Any]:
    """Give what the feed says of a job at one of its events."""
    state = event.target or job.state
    is_last = state is job.state
    return {
        "event": event.kind.value,
        "state": state.value,
        "previous": None if event.source is None else event.source.value,
        "version": event.version,
        "attempt": job.attempt,
        "stop": job.stop.kind.value if job.stop is not None and is_last else None,
        "reason": job.reason.value if job.reason is not None and is_last else None,
        "error": job.error if is_last else None,
    }


def moved(job: Job, target: JobState, at: float, data: Mapping[str, object] = _NOTHING) -> Event:
    """Make the event of a move out of the job's state; its version is given by `change`."""
    return Event(
        job_id=job.id,
        version=0,
        kind=EventKind.MOVED,
        at=at,
        attempt=job.attempt,
        source=job.state,
        target=target,
        data=dict(data),
    )


def noted(job: Job, kind: EventKind, at: float, data: Mapping[str, object] = _NOTHING) -> Event:
    """Make an event that leaves the state as it is; its version is given by `change`."""
    return Event(job_id=job.id, version=0, kind=kind, at=at, attempt=job.attempt, data=dict(data))


def request_stop(tx: Transaction, job_id: str, stop: StopRequest) -> Stopped:
    """See `Store.request_stop`."""
    job = find(tx, job_id)
    match job.state:
        case JobState.QUEUED | JobState.PAUSED if stop.kind is StopKind.CANCELLED:
            after = replace(job, state=JobState.CANCELLED, stop=stop, completed_at=stop.at, updated_at=stop.at)
            event = moved(job, JobState.CANCELLED, stop.at, _told_of(stop))
        case JobState.PENDING | JobState.RUNNING:
            if job.stop is not None and not outranks(stop.kind, job.stop.kind):
                return Stopped(previous=job.state, job=job)
            after = replace(job, stop=stop, updated_at=stop.at)
            event = noted(job, EventKind.STOP_REQUESTED, stop.at, _told_of(stop))
        case _:
            raise IllegalMove(job_id, job.state, _VERBS.get(stop.kind, stop.kind))
    return Stopped(previous=job.state, job=_sure(change(tx, job, after, event)))


def resume(tx: Transaction, job_id: str, checkpoint: str | None, at: float) -> Job:
    """See `Store.resume`."""
    job = find(tx, job_id)
    if job.state is not JobState.PAUSED:
        raise IllegalMove(job_id, job.state, "resume")
    after = replace(
        job,
        state=JobState.QUEUED,
        resume_from=checkpoint,
        head=0,
        queued_at=at,
        updated_at=at,
        not_before=None,
        paused_at=None,
        exit_code=None,
        signal=None,
        unclean=False,
    )
    return _sure(change(tx, job, after, moved(job, JobState.QUEUED, at, {"resume_from": after.resume_from})))


def move_to_head(tx: Transaction, job_id: str, at: float) -> Job:
    """See `Store.move_to_head`."""
    job = find(tx, job_id)
    if job.state is not JobState.QUEUED:
        raise IllegalMove(job_id, job.state, "move to the head of the queue")
    after = replace(job, head=tx.advance("head"), not_before=None, updated_at=at)
    return _sure(change(tx, job, after, noted(job, EventKind.MOVED_TO_HEAD, at)))


def set_priority(tx: Transaction, job_id: str, priority: int, at: float) -> Job:
    """See `Store.set_priority`."""
    job = find(tx, job_id)
    if job.state in TERMINAL:
        raise IllegalMove(job_id, job.state, "change its priority")
    if priority == job.priority:
        return job
    event = noted(job, EventKind.PRIORITY_CHANGED, at, {"priority": priority, "previous": job.priority})
    return _sure(change(tx, job, replace(job, priority=priority, updated_at=at), event))


def _check(job: Job, event: Event) -> None:
    if event.source is not None and event.target is not None and not may_move(event.source, event.target):
        raise IllegalMove(job.id, event.source, f"become {event.target}")


def _told_of(stop: StopRequest) -> dict[str, object]:
    return {"stop": stop.kind.value, "who": stop.who, "why": stop.why}


def _sure(job: Job | None) -> Job:
    if job is None:  # can't be where the row is held from its reading on, as it is in every database so far
        raise Unavailable("The job changed at the same moment. Try again")
    return job
