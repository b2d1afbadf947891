"""What is looked at: jobs, their order in the queue, and what belongs to each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Connection, ScalarSelect, bindparam, func, or_, select, union_all

from stoker.domain.errors import invalid
from stoker.domain.events import Event
from stoker.domain.job import Attempt, Job
from stoker.domain.states import ACTIVE, JobState
from stoker.store.codec import (
    ATTEMPT_COLUMNS,
    EVENT_COLUMNS,
    JOB_COLUMNS,
    METRIC_COLUMNS,
    decode_attempt,
    decode_event,
    decode_job,
    decode_metric,
)
from stoker.store.port import JobQuery, MetricRow, Page
from stoker.store.schema import attempts, events, jobs, metrics

LONGEST_PAGE = 1000

_SEQUENCE = re.compile("[0-9]{1,18}")

_WIDTH = len(JOB_COLUMNS)
_LABELLED = tuple(column.label(f"attempt_{column.name}") for column in ATTEMPT_COLUMNS)
_NEWEST = (attempts.c.job_id == jobs.c.id) & (attempts.c.number == jobs.c.attempt)

_JOB = select(*JOB_COLUMNS).where(jobs.c.id == bindparam("id"))
_BOTH = select(*JOB_COLUMNS, *_LABELLED).select_from(jobs.outerjoin(attempts, _NEWEST))
_ONE = _BOTH.where(jobs.c.id == bindparam("id"))
_ACTIVE = (
    select(*JOB_COLUMNS, *_LABELLED)
    .join(attempts, _NEWEST)
    .where(jobs.c.state.in_([state.value for state in ACTIVE]), attempts.c.ended_at.is_(None))
    .order_by(jobs.c.sequence)
)
_COUNTS = select(jobs.c.state, func.count()).group_by(jobs.c.state)
_QUEUE = (
    select(*JOB_COLUMNS)
    .where(jobs.c.state == JobState.QUEUED.value)
    .order_by(jobs.c.head.desc(), jobs.c.priority.desc(), jobs.c.sequence)
    .limit(bindparam("limit"))
)
_AHEAD = jobs.alias()


def _ahead(*conditions: ColumnElement[bool]) -> ScalarSelect[int]:
    count = select(func.count()).select_from(_AHEAD).where(_AHEAD.c.state == JobState.QUEUED.value, *conditions)
    return count.correlate(jobs).scalar_subquery()


_SAME_HEAD = _AHEAD.c.head == jobs.c.head
_POSITION = select(
    _ahead(_AHEAD.c.head > jobs.c.head)
    + _ahead(_SAME_HEAD, _AHEAD.c.priority > jobs.c.priority)
    + _ahead(_SAME_HEAD, _AHEAD.c.priority == jobs.c.priority, _AHEAD.c.sequence <= jobs.c.sequence)
).where(jobs.c.id == bindparam("id"), jobs.c.state == JobState.QUEUED.value)
"""Three ranges of the index of the queue, so that only what is ahead of the job is ever looked at."""
_ATTEMPTS = select(*ATTEMPT_COLUMNS).where(attempts.c.job_id == bindparam("id")).order_by(attempts.c.number)
_EVENTS = (
    select(*EVENT_COLUMNS)
    .where(events.c.job_id == bindparam("id"), events.c.version > bindparam("after"))
    .order_by(events.c.version)
    .limit(bindparam("limit"))
)
_METRICS = (
    select(*METRIC_COLUMNS)
    .where(metrics.c.attempt_id == bindparam("id"), metrics.c.seq > bindparam("after"))
    .order_by(metrics.c.seq)
    .limit(bindparam("limit"))
)


def job(connection: Connection, job_id: str) -> Job | None:
    """See `Store.job`."""
    row = connection.execute(_JOB, {"id": job_id}).first()
    return None if row is None else decode_job(row)


def job_with_attempt(connection: Connection, job_id: str) -> tuple[Job, Attempt | None] | None:
    """See `Store.job_with_attempt`; one statement, so that both are of one moment."""
    row = connection.execute(_ONE, {"id": job_id}).first()
    return None if row is None else _both(row)


def page(connection: Connection, query: JobQuery) -> Page:
    """See `Store.jobs`. Raises `InvalidRequest` if `after` is not the `next` of a page."""
    limit = max(1, min(query.limit, LONGEST_PAGE))
    newest = _BOTH.where(jobs.c.sequence.in_(_newest(query, limit + 1)))
    found = [_both(row) for row in connection.execute(newest.order_by(jobs.c.sequence.desc()).limit(limit + 1)).all()]
    following = str(found[limit - 1][0].sequence) if len(found) > limit else None
    return Page(jobs=tuple(found[:limit]), next=following)


def _newest(query: JobQuery, count: int) -> CompoundSelect[Any]:
    """Select the newest of each state that is wanted, so that an index gives them without a sort of all."""
    wanted = select(jobs.c.sequence).where(*_conditions(query))
    each = [wanted.where(jobs.c.state == state.value) for state in sorted(set(query.states))] or [wanted]
    newest = (one.order_by(jobs.c.sequence.desc()).limit(count).subquery() for one in each)
    return union_all(*(select(one.c.sequence) for one in newest))


def _conditions(query: JobQuery) -> Iterator[ColumnElement[bool]]:
    equal = {jobs.c.owner: query.owner, jobs.c.recipe: query.recipe, jobs.c.user_id: query.user_id}
    for column, wanted in equal.items():
        if wanted is not None:
            yield column == wanted
    if query.text:
        yield or_(
            *(column.icontains(query.text, autoescape=True) for column in (jobs.c.id, jobs.c.name, jobs.c.user_id))
        )
    if query.after is not None:
        yield jobs.c.sequence < _sequence(query.after)


def _sequence(after: str) -> int:
    if not _SEQUENCE.fullmatch(after):
        raise invalid("after", "is not the key of a page", "Give the 'next' of the page before, or leave it out")
    return int(after)


def counts(connection: Connection) -> dict[JobState, int]:
    """See `Store.count_by_state`."""
    found = {state: int(count) for state, count in connection.execute(_COUNTS).all()}
    return {state: found.get(state.value, 0) for state in JobState}


def queue(connection: Connection, limit: int) -> list[Job]:
    """See `Store.queue`."""
    return [decode_job(row) for row in connection.execute(_QUEUE, {"limit": limit}).all()]


def queue_position(connection: Connection, job_id: str) -> int | None:
    """See `Store.queue_position`: the job itself and those before it."""
    position = connection.execute(_POSITION, {"id": job_id}).scalar_one_or_none()
    return None if position is None else int(position)


def active_jobs(connection: Connection) -> list[tuple[Job, Attempt]]:
    """See `Store.active_jobs`."""
    rows = connection.execute(_ACTIVE).all()
    return [(decode_job(row[:_WIDTH]), decode_attempt(row[_WIDTH:])) for row in rows]


def attempts_of(connection: Connection, job_id: str) -> list[Attempt]:
    """See `Store.attempts`."""
    return [decode_attempt(row) for row in connection.execute(_ATTEMPTS, {"id": job_id}).all()]


def events_of(connection: Connection, job_id: str, after: int, limit: int) -> list[Event]:
    """See `Store.events`."""
    rows = connection.execute(_EVENTS, {"id": job_id, "after": after, "limit": limit}).all()
    return [decode_event(row) for row in rows]


def metrics_of(connection: Connection, attempt_id: str, after: int, limit: int) -> list[MetricRow]:
    """See `Store.metrics`."""
    rows = connection.execute(_METRICS, {"id": attempt_id, "after": after, "limit": limit}).all()
    return [decode_metric(row) for row in rows]


def _both(row: Any) -> tuple[Job, Attempt | None]:
    attempt = row[_WIDTH:]
    return decode_job(row[:_WIDTH]), None if attempt[0] is None else decode_attempt(attempt)
