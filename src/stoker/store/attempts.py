"""What the scheduler does with attempts; every write is guarded by the attempt's epoch and by the term."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from sqlalchemy import bindparam, func, insert, select, update

from stoker.domain.errors import EpochLost, IllegalMove
from stoker.domain.events import EventKind
from stoker.domain.job import Attempt, Job
from stoker.domain.states import ACTIVE, TERMINAL, JobState
from stoker.domain.stop import ASKED_BY_USER
from stoker.store.codec import decode_job, encode_attempt, encode_json
from stoker.store.moves import FOR_CHANGE, change, find, moved, noted
from stoker.store.port import Ending
from stoker.store.schema import attempts
from stoker.store.transaction import Transaction

_OPEN = insert(attempts)
_OURS = (
    attempts.c.id == bindparam("_id"),
    attempts.c.lease_epoch == bindparam("_epoch"),
    attempts.c.ended_at.is_(None),
)
_SET_HANDLE = update(attempts).where(*_OURS)
_LEASED = (
    select(attempts.c.job_id, attempts.c.lease_epoch)
    .where(attempts.c.id == bindparam("id"), attempts.c.ended_at.is_(None))
    .with_for_update()
)
_ADOPT = update(attempts).where(attempts.c.id == bindparam("_id"))
_OF_JOB = (attempts.c.job_id == bindparam("_job"), attempts.c.number == bindparam("_number"))
_OPENED_AT = select(attempts.c.created_at).where(*_OF_JOB)
_START = update(attempts).where(*_OF_JOB).values(started_at=func.coalesce(attempts.c.started_at, bindparam("_at")))
_END = update(attempts).where(*_OF_JOB)


def open_attempt(tx: Transaction, attempt: Attempt, epoch: int) -> Job | None:
    """See `Store.open_attempt`."""
    if not tx.is_of_term(epoch):
        raise EpochLost(f"A later term than {epoch} has begun")
    job = find(tx, attempt.job_id)
    if job.state is not JobState.QUEUED or job.stop is not None or attempt.number != job.attempt + 1:
        return None
    after = replace(
        job,
        state=JobState.PENDING,
        attempt=attempt.number,
        epoch=epoch,
        not_before=None,
        updated_at=attempt.created_at,
    )
    told = {"attempt_id": attempt.id, "engine": attempt.engine, "gpus": attempt.gpus, "overrides": attempt.overrides}
    opened = noted(after, EventKind.ATTEMPT_OPENED, attempt.created_at, told)
    move = replace(moved(job, JobState.PENDING, attempt.created_at), attempt=attempt.number)
    changed = change(tx, job, after, opened, move)
    if changed is not None:
        tx.connection.execute(_OPEN, encode_attempt(replace(attempt, lease_epoch=epoch)))
    return changed


def set_handle(tx: Transaction, attempt_id: str, handle: dict[str, Any], epoch: int) -> bool:
    """See `Store.set_handle`."""
    if not tx.is_of_term(epoch):
        return False
    values = {"_id": attempt_id, "_epoch": epoch, "handle": encode_json(handle)}
    return tx.connection.execute(_SET_HANDLE, values).rowcount == 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """Who looks after an attempt, in which term, and until when (seconds since 1970, UTC)."""

    owner: str
    epoch: int
    until: float


def adopt(tx: Transaction, attempt_id: str, lease: Lease, at: float) -> bool:
    """See `Store.adopt`."""
    leased = tx.connection.execute(_LEASED, {"id": attempt_id}).first() if tx.is_of_term(lease.epoch) else None
    if leased is None:
        return False
    values = {"lease_owner": lease.owner, "lease_epoch": lease.epoch, "lease_until": lease.until}
    tx.connection.execute(_ADOPT, values | {"_id": attempt_id})
    if leased.lease_epoch != lease.epoch:
        job = find(tx, leased.job_id)
        told = noted(job, EventKind.ADOPTED, at, {"owner": lease.owner, "epoch": lease.epoch})
        change(tx, job, replace(job, epoch=lease.epoch), told)
    return True


def mark_running(tx: Transaction, job_id: str, attempt: int, epoch: int, at: float) -> bool:
    """See `Store.mark_running`."""
    job = _held(tx, job_id, attempt, epoch)
    if job is None or job.state is not JobState.PENDING:
        return False
    began = at if job.started_at is None else job.started_at
    tx.connection.execute(_START, {"_job": job_id, "_number": attempt, "_at": at})
    after = replace(job, state=JobState.RUNNING, started_at=began, updated_at=at)
    return change(tx, job, after, moved(job, JobState.RUNNING, at)) is not None


def conclude(tx: Transaction, job_id: str, attempt: int, epoch: int, ending: Ending) -> Job | None:
    """See `Store.conclude`."""
    job = _held(tx, job_id, attempt, epoch)
    if job is None or (ending.state is JobState.QUEUED and _is_stopped_by_user(job)):
        return None
    if ending.state in ACTIVE:
        raise IllegalMove(job_id, job.state, f"end as {ending.state}")
    seen = _seen_running(tx, job) if ending.ran else job
    passed = [moved(job, JobState.RUNNING, ending.at)] if seen.state is not job.state else []
    kind = EventKind.ATTEMPT_LOST if ending.lost else EventKind.ATTEMPT_ENDED
    told = noted(job, kind, ending.at, _end(ending))
    after = change(tx, job, _ended(seen, ending), *passed, told, moved(seen, ending.state, ending.at, _why(ending)))
    if after is not None:
        _close(tx, after, ending)
    return after


def _held(tx: Transaction, job_id: str, attempt: int, epoch: int) -> Job | None:
    """Read an active job, if it is at this attempt and both the attempt and the term are of this epoch."""
    row = tx.connection.execute(FOR_CHANGE, {"id": job_id}).first() if tx.is_of_term(epoch) else None
    if row is None:
        return None
    job = decode_job(row)
    return job if job.state in ACTIVE and job.attempt == attempt and job.epoch == epoch else None


def _is_stopped_by_user(job: Job) -> bool:
    return job.stop is not None and job.stop.kind in ASKED_BY_USER


def _seen_running(tx: Transaction, job: Job) -> Job:
    """Give a pending job as it would be, had its start been seen; it began about when its attempt was opened."""
    if job.state is JobState.RUNNING:
        return job
    keys = {"_job": job.id, "_number": job.attempt}
    began = tx.connection.execute(_OPENED_AT, keys).scalar_one()
    tx.connection.execute(_START, keys | {"_at": began})
    return replace(job, state=JobState.RUNNING, started_at=began if job.started_at is None else job.started_at)


def _ended(job: Job, ending: Ending) -> Job:
    """Give the job after its attempt's end. One that goes back to the queue shows nothing of it."""
    is_terminal, is_queued = ending.state in TERMINAL, ending.state is JobState.QUEUED
    return replace(
        job,
        state=ending.state,
        updated_at=ending.at,
        stop=job.stop if is_terminal else None,
        completed_at=ending.at if is_terminal else None,
        paused_at=ending.at if ending.state is JobState.PAUSED else None,
        queued_at=ending.at if is_queued else job.queued_at,
        not_before=ending.not_before,
        lost_attempts=job.lost_attempts + ending.lost,
        resume_from=ending.resume_from or job.resume_from,
        reason=None if is_queued else ending.reason,
        error=None if is_queued else ending.error,
        exit_code=None if is_queued else ending.exit_code,
        signal=None if is_queued else ending.signal,
        unclean=ending.unclean and not is_queued,
    )


def _end(ending: Ending) -> dict[str, Any]:
    values = {f.name: getattr(ending, f.name) for f in fields(ending) if f.name != "receipt"}
    return values | {"state": ending.state.value, "reason": ending.reason and ending.reason.value}


def _why(ending: Ending) -> dict[str, object]:
    return {} if ending.reason is None else {"reason": ending.reason.value, "error": ending.error}


def _close(tx: Transaction, job: Job, ending: Ending) -> None:
    values: dict[str, object] = {"ended_at": ending.at, "ending": encode_json(_end(ending))}
    if ending.receipt is not None:
        values["receipt"] = encode_json(ending.receipt)
    tx.connection.execute(_END, values | {"_job": job.id, "_number": job.attempt})
