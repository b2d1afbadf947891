"""Taking in what was read of an attempt: metrics, progress and notes together with the cursor, each once."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, func, insert, select, update

from stoker.domain.events import Event, EventKind, FeedKind
from stoker.store.codec import encode_event, encode_json, encode_metric
from stoker.store.port import Intake
from stoker.store.schema import attempts, events, jobs, metrics
from stoker.store.transaction import Transaction

_FOUND = (
    select(attempts.c.id, attempts.c.job_id, attempts.c.number, attempts.c.live, jobs.c.owner, jobs.c.version)
    .join(jobs, jobs.c.id == attempts.c.job_id)
    .where(
        attempts.c.id == bindparam("id"),
        attempts.c.lease_epoch == bindparam("epoch"),
        attempts.c.cursor == bindparam("before"),
        attempts.c.ended_at.is_(None),
    )
    .with_for_update()
)
_ADVANCE = update(attempts).where(attempts.c.id == bindparam("_id"))
_LAST_SEQ = select(func.coalesce(func.max(metrics.c.seq), -1)).where(metrics.c.attempt_id == bindparam("id"))
_METRIC, _EVENT = insert(metrics), insert(events)
_VERSION = update(jobs).where(jobs.c.id == bindparam("_id"))


@dataclass(frozen=True, slots=True)
class _Found:
    """The attempt that is taken in from; the fields are the columns of the statement."""

    id: str
    job_id: str
    number: int
    live: str
    owner: str
    version: int


def take_in(tx: Transaction, attempt_id: str, epoch: int, intake: Intake, at: float) -> bool:
    """See `Store.take_in`; `at` is the time of the feed's rows."""
    if not tx.is_of_term(epoch):
        return False
    row = tx.connection.execute(_FOUND, {"id": attempt_id, "epoch": epoch, "before": intake.before}).first()
    if row is None:
        return False
    found = _Found(*row)
    _advance(tx, attempt_id, intake)
    _write_metrics(tx, found, intake, at)
    _write_notes(tx, found, intake)
    _tell(tx, found, intake, at)
    return True


def _advance(tx: Transaction, attempt_id: str, intake: Intake) -> None:
    values = {"cursor": intake.after}
    if intake.progress is not None:
        values["progress"] = encode_json(intake.progress)
    if intake.live is not None:
        values["live"] = encode_json(intake.live)
    tx.connection.execute(_ADVANCE, values | {"_id": attempt_id})


def _write_metrics(tx: Transaction, found: _Found, intake: Intake, at: float) -> None:
    if not intake.metrics:
        return
    last = int(tx.connection.execute(_LAST_SEQ, {"id": found.id}).scalar_one())
    fresh = [encode_metric(found.id, row) for row in intake.metrics if row.seq > last]
    if fresh:
        tx.connection.execute(_METRIC, fresh)
        _tell_of(tx, found, FeedKind.METRICS, at, {"from": fresh[0]["seq"], "to": fresh[-1]["seq"] + 1})


def _write_notes(tx: Transaction, found: _Found, intake: Intake) -> None:
    """Notes belong in the history and only there; whoever watches sees what they changed in the live figures."""
    if not intake.notes:
        return
    noted = [
        Event(
            job_id=found.job_id,
            version=found.version + i,
            kind=EventKind.SUPERVISOR_NOTE,
            at=note.at,
            attempt=found.number,
            data=note.data,
        )
        for i, note in enumerate(intake.notes, 1)
    ]
    tx.connection.execute(_EVENT, [encode_event(event) for event in noted])
    tx.connection.execute(_VERSION, {"_id": found.job_id, "version": noted[-1].version})


def _tell(tx: Transaction, found: _Found, intake: Intake, at: float) -> None:
    """Tell the feed of progress, of a change of the live figures, and of each range of log bytes."""
    shown: dict[str, object] = {}
    if intake.progress is not None:
        shown["progress"] = intake.progress
    if intake.live is not None and (shown or encode_json(intake.live) != found.live):
        shown["live"] = intake.live
    if shown:
        _tell_of(tx, found, FeedKind.PROGRESS, at, shown)
    for start, end in intake.log_ranges:
        _tell_of(tx, found, FeedKind.LOG, at, {"from": start, "to": end})


def _tell_of(tx: Transaction, found: _Found, kind: FeedKind, at: float, data: dict[str, object]) -> None:
    tx.tell(kind, (found.job_id, found.owner), at, {"attempt": found.id, "number": found.number, **data})
