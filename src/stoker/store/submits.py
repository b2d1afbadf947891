"""The beginning and the very end of a job in the store: submit and delete."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Row, bindparam, delete, insert, select

from stoker.domain.errors import IdempotencyMismatch, IdTaken, IllegalMove
from stoker.domain.events import EventKind, FeedKind
from stoker.domain.job import Job
from stoker.domain.states import TERMINAL, JobState
from stoker.store.codec import JOB_COLUMNS, clean_text, decode_job, encode_job, encode_spec
from stoker.store.moves import find, noted, write_events
from stoker.store.port import NewJob
from stoker.store.schema import attempts, events, idempotency_keys, jobs, metrics, tombstones
from stoker.store.transaction import Transaction

METRICS_AT_ONCE = 5_000
"""How many metric rows one transaction of a delete removes; a few milliseconds."""

_KEY = select(idempotency_keys.c.job_id, idempotency_keys.c.body_hash).where(
    idempotency_keys.c.owner == bindparam("owner"), idempotency_keys.c.key == bindparam("key")
)
_SAME_ID = select(jobs.c.body_hash, *JOB_COLUMNS).where(jobs.c.id == bindparam("id"))
_TOMBSTONE = select(tombstones.c.id).where(tombstones.c.id == bindparam("id"))
_FIRST_METRIC = (
    select(metrics.c.attempt_id, metrics.c.seq)
    .join(attempts, attempts.c.id == metrics.c.attempt_id)
    .where(attempts.c.job_id == bindparam("job"))
    .order_by(metrics.c.attempt_id, metrics.c.seq)
    .limit(1)
)
_DROP_METRICS = delete(metrics).where(metrics.c.attempt_id == bindparam("attempt"), metrics.c.seq < bindparam("below"))
_DROP_JOB = (
    delete(events).where(events.c.job_id == bindparam("job")),
    delete(attempts).where(attempts.c.job_id == bindparam("job")),
    delete(jobs).where(jobs.c.id == bindparam("job")),
)
_JOB, _NEW_KEY, _BURIED = insert(jobs), insert(idempotency_keys), insert(tombstones)


def submit(tx: Transaction, new: NewJob) -> tuple[Job, bool]:
    """See `Store.submit`. The held counter lets one submit look and write at a time."""
    sequence = tx.hold("submit") + 1
    known = _by_key(tx, new)
    if known is None:
        known = _by_id(tx, new)
        _remember_key(tx, new)
    if known is not None:
        return known, False
    tx.advance("submit")
    return _queue(tx, new, sequence), True


def is_known(tx: Transaction, new: NewJob) -> bool:
    """See `Store.is_known`."""
    return (_by_key(tx, new) or _by_id(tx, new)) is not None


def _by_key(tx: Transaction, new: NewJob) -> Job | None:
    if new.idempotency_key is None:
        return None
    made = tx.connection.execute(_KEY, {"owner": new.owner, "key": clean_text(new.idempotency_key)}).first()
    if made is None:
        return None
    if made.body_hash != new.body_hash:
        raise IdempotencyMismatch(
            f"The idempotency key {new.idempotency_key!r} was used for another request. Use a new key"
        )
    row = _same_id(tx, made.job_id)
    if row is None:
        raise IdTaken(f"The job {made.job_id} of this idempotency key was deleted. Use a new key")
    return decode_job(row[1:])


def _by_id(tx: Transaction, new: NewJob) -> Job | None:
    if tx.connection.execute(_TOMBSTONE, {"id": new.id}).first() is not None:
        raise IdTaken(f"The id {new.id} belonged to a job that was deleted. Choose another id")
    row = _same_id(tx, new.id)
    if row is None:
        return None
    body_hash, job = row[0], decode_job(row[1:])
    if job.owner != new.owner or body_hash != new.body_hash:
        raise IdTaken(f"The id {new.id} belongs to another job. Choose another id")
    return job


def _same_id(tx: Transaction, job_id: str) -> Row[Any] | None:
    return tx.connection.execute(_SAME_ID, {"id": job_id}).first()


def _remember_key(tx: Transaction, new: NewJob) -> None:
    if new.idempotency_key is not None:
        key = clean_text(new.idempotency_key)
        values = {"owner": new.owner, "key": key, "job_id": new.id, "body_hash": new.body_hash, "at": new.at}
        tx.connection.execute(_NEW_KEY, values)


def _queue(tx: Transaction, new: NewJob, sequence: int) -> Job:
    job = Job(
        id=new.id,
        owner=new.owner,
        spec=new.spec,
        state=JobState.QUEUED,
        created_at=new.at,
        updated_at=new.at,
        queued_at=new.at,
        sequence=sequence,
        user_id=clean_text(new.user_id),
        name=clean_text(new.name),
        priority=new.priority,
        version=1,
        retried_from=new.retried_from,
        resume_from=new.resume_from,
    )
    columns = encode_job(job) | {"spec": encode_spec(new.spec), "recipe": new.spec.recipe, "body_hash": new.body_hash}
    tx.connection.execute(_JOB, columns)
    write_events(tx, job, [replace(noted(job, EventKind.SUBMITTED, new.at), version=1, target=JobState.QUEUED)])
    return job


def drop_metrics(tx: Transaction, job_id: str) -> bool:
    """Drop some metric rows of a terminal job; tell whether there were any. Raises `NotFound`, `IllegalMove`."""
    _find_terminal(tx, job_id)
    row = tx.connection.execute(_FIRST_METRIC, {"job": job_id}).first()
    if row is None:
        return False
    tx.connection.execute(_DROP_METRICS, {"attempt": row.attempt_id, "below": row.seq + METRICS_AT_ONCE})
    return True


def bury(tx: Transaction, job_id: str, at: float) -> None:
    """Delete a terminal job whose metrics are gone, and keep its id taken."""
    job = _find_terminal(tx, job_id)
    body_hash = tx.connection.execute(_SAME_ID, {"id": job_id}).scalar_one()
    for statement in _DROP_JOB:
        tx.connection.execute(statement, {"job": job_id})
    tx.connection.execute(_BURIED, {"id": job_id, "owner": job.owner, "body_hash": body_hash, "deleted_at": at})
    tx.tell(FeedKind.DELETED, (job_id, job.owner), at, {})


def _find_terminal(tx: Transaction, job_id: str) -> Job:
    job = find(tx, job_id)
    if job.state not in TERMINAL:
        raise IllegalMove(job_id, job.state, "be deleted")
    return job
