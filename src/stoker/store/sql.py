"""The store on a SQL database."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import delete, insert, select

from stoker.domain.errors import HomeUnusable
from stoker.domain.events import Event, FeedItem
from stoker.domain.job import Attempt, Job
from stoker.domain.states import JobState
from stoker.domain.stop import StopRequest
from stoker.store import attempts, feed, keys, listing, moves, submits
from stoker.store.database import Database
from stoker.store.intake import take_in
from stoker.store.port import ApiKey, Ending, Intake, JobQuery, MetricRow, NewJob, Page, Stopped
from stoker.store.schema import meta
from stoker.store.sqlite import SqliteDatabase
from stoker.store.transaction import Transaction

_LOG = structlog.get_logger(__name__)


def open_store(url: str | Path) -> SqlStore:
    """Open the store at a path or a `sqlite:///` URL, made if it is not there, with its schema up to date.

    Raises `HomeUnusable` if it can't be used as it is, `Unavailable` if another process holds it locked.
    """
    text = str(url)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return SqlStore(SqliteDatabase(Path(text)))
    if scheme != "sqlite" or not rest.startswith("/") or rest == "/":
        raise HomeUnusable(f"The database {scheme}:// can't be used. Give sqlite:/// and a path, or only a path")
    return SqlStore(SqliteDatabase(Path(rest[1:])))


class SqlStore:
    """`stoker.store.port.Store` on a database; what each call promises is said there."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        """Take an open database, and a clock in seconds since 1970 UTC."""
        self._database = database
        self._clock = clock
        self._listeners: list[Callable[[], None]] = []
        with database.read() as connection:
            self._home_id = str(connection.execute(select(meta.c.value).where(meta.c.key == "home_id")).scalar_one())

    @contextlib.contextmanager
    def _write(self) -> Iterator[Transaction]:
        with self._database.write() as connection:
            tx = Transaction(connection)
            yield tx
            has_told = tx.write_feed()
        if has_told:
            self._call_listeners()

    def _call_listeners(self) -> None:
        for listener in self._listeners:
            try:
                listener()
            except Exception:  # noqa: BLE001 - the write is durable: its caller must not take it for failed
                _LOG.exception("feed_listener_failed")

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    def ping(self) -> None:
        """Raise `Unavailable` unless the store answers."""
        with self._database.read() as connection:
            connection.execute(select(1)).all()

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every commit that added feed rows."""
        self._listeners.append(listener)

    def home_id(self) -> str:
        """Give the id of this store."""
        return self._home_id

    def acquire_term(self, owner: str) -> int:
        """Begin a term."""
        with self._write() as tx:
            tx.connection.execute(delete(meta).where(meta.c.key == "term_owner"))
            tx.connection.execute(insert(meta).values(key="term_owner", value=owner))
            return tx.advance("term")

    def submit(self, new: NewJob) -> tuple[Job, bool]:
        """Queue a job, or give the one that the same request made before."""
        with self._write() as tx:
            return submits.submit(tx, new)

    def is_known(self, new: NewJob) -> bool:
        """Tell whether the same request has made a job before."""
        with self._database.read() as connection:
            return submits.is_known(Transaction(connection), new)

    def request_stop(self, job_id: str, stop: StopRequest) -> Stopped:
        """Ask for a stop."""
        with self._write() as tx:
            return moves.request_stop(tx, job_id, stop)

    def resume(self, job_id: str, checkpoint: str | None, at: float) -> Job:
        """Queue a paused job again."""
        with self._write() as tx:
            return moves.resume(tx, job_id, checkpoint, at)

    def move_to_head(self, job_id: str, at: float) -> Job:
        """Put a queued job before all others."""
        with self._write() as tx:
            return moves.move_to_head(tx, job_id, at)

    def set_priority(self, job_id: str, priority: int, at: float) -> Job:
        """Change the priority of a job."""
        with self._write() as tx:
            return moves.set_priority(tx, job_id, priority, at)

    def delete(self, job_id: str, at: float) -> None:
        """Delete a terminal job."""
        has_metrics = True
        while has_metrics:
            with self._write() as tx:
                has_metrics = submits.drop_metrics(tx, job_id)
        with self._write() as tx:
            submits.bury(tx, job_id, at)

    def open_attempt(self, attempt: Attempt, epoch: int) -> Job | None:
        """Move a queued job to pending with a new attempt."""
        with self._write() as tx:
            return attempts.open_attempt(tx, attempt, epoch)

    def set_handle(self, attempt_id: str, handle: dict[str, Any], epoch: int) -> bool:
        """Record how the engine finds the attempt again."""
        with self._write() as tx:
            return attempts.set_handle(tx, attempt_id, handle, epoch)

    def adopt(self, attempt_id: str, owner: str, epoch: int, lease_until: float) -> bool:
        """Take an open attempt over, or renew its lease."""
        lease = attempts.Lease(owner=owner, epoch=epoch, until=lease_until)
        with self._write() as tx:
            return attempts.adopt(tx, attempt_id, lease, self._clock())

    def mark_running(self, job_id: str, attempt: int, epoch: int, at: float) -> bool:
        """Move a pending job to running."""
        with self._write() as tx:
            return attempts.mark_running(tx, job_id, attempt, epoch, at)

    def take_in(self, attempt_id: str, epoch: int, intake: Intake) -> bool:
        """Take in what was read of an attempt."""
        with self._write() as tx:
            return take_in(tx, attempt_id, epoch, intake, self._clock())

    def conclude(self, job_id: str, attempt: int, epoch: int, ending: Ending) -> Job | None:
        """End an attempt and move its job."""
        with self._write() as tx:
            return attempts.conclude(tx, job_id, attempt, epoch, ending)

    def job(self, job_id: str) -> Job | None:
        """Give a job."""
        with self._database.read() as connection:
            return listing.job(connection, job_id)

    def job_with_attempt(self, job_id: str) -> tuple[Job, Attempt | None] | None:
        """Give a job and its newest attempt."""
        with self._database.read() as connection:
            return listing.job_with_attempt(connection, job_id)

    def jobs(self, query: JobQuery) -> Page:
        """List jobs."""
        with self._database.read() as connection:
            return listing.page(connection, query)

    def count_by_state(self) -> dict[JobState, int]:
        """Count the jobs of each state."""
        with self._database.read() as connection:
            return listing.counts(connection)

    def queue(self, limit: int) -> list[Job]:
        """List the queued jobs in their order."""
        with self._database.read() as connection:
            return listing.queue(connection, limit)

    def queue_position(self, job_id: str) -> int | None:
        """Give the place in the queue."""
        with self._database.read() as connection:
            return listing.queue_position(connection, job_id)

    def active_jobs(self) -> list[tuple[Job, Attempt]]:
        """List the pending and running jobs."""
        with self._database.read() as connection:
            return listing.active_jobs(connection)

    def attempts(self, job_id: str) -> list[Attempt]:
        """List the attempts of a job."""
        with self._database.read() as connection:
            return listing.attempts_of(connection, job_id)

    def events(self, job_id: str, after: int = -1, limit: int = 1000) -> list[Event]:
        """List the events of a job."""
        with self._database.read() as connection:
            return listing.events_of(connection, job_id, after, limit)

    def metrics(self, attempt_id: str, after: int = -1, limit: int = 10_000) -> list[MetricRow]:
        """List the metric rows of an attempt."""
        with self._database.read() as connection:
            return listing.metrics_of(connection, attempt_id, after, limit)

    def feed(self, after: int, limit: int = 500) -> list[FeedItem]:
        """List the feed rows after an id."""
        with self._database.read() as connection:
            return feed.after(connection, after, limit)

    def feed_bounds(self) -> tuple[int, int]:
        """Give the oldest and the newest id of the feed."""
        with self._database.read() as connection:
            return feed.bounds(connection)

    def prune_feed(self, keep: int) -> int:
        """Drop the oldest feed rows."""
        dropped = 0
        while True:
            with self._write() as tx:
                some = feed.prune(tx, keep)
            if not some:
                return dropped
            dropped += some

    def add_key(self, key: ApiKey) -> None:
        """Record a key."""
        with self._write() as tx:
            keys.add(tx, key)

    def keys(self, owner: str | None = None) -> list[ApiKey]:
        """List the keys."""
        with self._database.read() as connection:
            return keys.listing(connection, owner)

    def find_key(self, prefix: str) -> ApiKey | None:
        """Give the key with this prefix."""
        with self._database.read() as connection:
            return keys.find(connection, prefix)

    def revoke_key(self, prefix: str, at: float) -> bool:
        """Revoke a key."""
        with self._write() as tx:
            return keys.revoke(tx, prefix, at)

    def touch_key(self, prefix: str, at: float) -> None:
        """Record that a key was used."""
        with self._database.read() as connection:
            is_old = keys.is_worth_touching(connection, prefix, at)
        if is_old:
            with self._write() as tx:
                keys.touch(tx, prefix, at)
