"""The open attempts: their records are taken in, their stops sent, their ends applied, their leases renewed."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog

from stoker.domain.errors import EpochLost, Unavailable
from stoker.domain.job import Attempt, Job
from stoker.domain.stop import StopKind
from stoker.rundir.layout import JobDir
from stoker.rundir.records import ExitRecord, StopRecord, Survivor
from stoker.rundir.secrets import forget_secrets
from stoker.scheduler.ending import ending_of, loss_of, missing_artifacts, never_started
from stoker.scheduler.intake import Seen, digest, is_empty
from stoker.scheduler.parts import Parts
from stoker.scheduler.watched import Watched
from stoker.store.port import Ending

log = structlog.get_logger()

LEASE_SECONDS = 60.0
RENEW_SECONDS = 20.0
RETRY_SECONDS = 0.5
"""The pause before the end of an attempt is applied again when the store did not take it."""

INTAKES_AT_ONCE = 20
"""So many parts of an attempt's records are taken in before the others have their turn."""

TROUBLES_WITH_RECORDS = 5
"""After so many failures an end is applied without what could not be taken in of the records."""

ARTIFACTS_SECONDS = 60.0
"""The longest look for the artifacts that a job declares; what was not found by then counts as missing."""


class Attempts:
    """The attempts that this server watches. Used by the scheduler's thread alone."""

    def __init__(self, parts: Parts) -> None:
        """Take the parts; watch nothing yet."""
        self.store, self.engine, self.settings, self.identity = (
            parts.store,
            parts.engine,
            parts.settings,
            parts.identity,
        )
        self.clock, self.now = parts.clock, parts.now
        self.has_requests = True
        self.is_asked = True
        self._watched: dict[str, Watched] = {}
        self._died: set[str] = set()
        self._stops_due: float | None = None
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="artifacts")

    def __len__(self) -> int:
        """Count the attempts that take a slot."""
        return len(self._watched)

    def begin_tick(self) -> None:
        """Note whether the store must be looked at in this tick; a wake-up from now on counts for the next one."""
        self.is_asked, self.has_requests = self.has_requests, False

    def all(self) -> list[Watched]:
        """Give the watched attempts."""
        return list(self._watched.values())

    def get(self, attempt_id: str) -> Watched | None:
        """Give one watched attempt."""
        return self._watched.get(attempt_id)

    def watch(self, job: Job, attempt: Attempt) -> Watched:
        """Begin to watch an attempt."""
        watched = self._watched.setdefault(attempt.id, Watched.of(job, attempt, self.clock()))
        watched.is_polled = not self.engine.watch(attempt.id)
        return watched

    def carefully(self, watched: Watched, act: Callable[[], None]) -> bool:
        """Do something for one attempt, and tell whether it was done.

        What fails is this attempt's own trouble: it is logged and tried again later, and the others go on.
        """
        try:
            act()
        except EpochLost:
            raise
        except Unavailable as error:
            log.warning("attempt_postponed", job=watched.job_id, attempt=watched.number, error=str(error))
        except Exception:
            log.exception("attempt_troubled", job=watched.job_id, attempt=watched.number)
        else:
            watched.troubles = 0
            return True
        watched.note_trouble(self.clock())
        return False

    def take_deaths(self) -> set[str]:
        """Take the ids of the attempts whose supervisors died."""
        died, self._died = self._died, set()
        return died

    def look_at_news(self) -> None:
        """Take in what is new and apply the ends that are there."""
        news = self.engine.news()
        self._died |= news.died
        for attempt_id in news.changed | news.died:
            if (watched := self._watched.get(attempt_id)) is not None:
                watched.has_news = True
        for watched in self.all():
            if watched.has_news or watched.is_polled:
                self.carefully(watched, partial(self.look, watched))

    def next_due(self) -> float | None:
        """Give the moment at which news that waits must be looked at."""
        due = [watched.due for watched in self._watched.values() if watched.has_news or watched.is_polled]
        leases = [watched.lease_renewed_at + RENEW_SECONDS for watched in self._watched.values()]
        stops = [] if self._stops_due is None else [self._stops_due]
        return min([*due, *leases, *stops], default=None)

    def look(self, watched: Watched) -> None:
        """Apply the end of an attempt if there is one, else take in what is new; neither before it is time."""
        if self.clock() < watched.due and (watched.troubles or watched.is_ending):
            return
        record = self.engine.channel(watched.attempt_id).exit()
        if record is not None:
            self._finish(watched, record)
        elif self.clock() >= watched.due:
            watched.has_news = self._take_in(watched, final=False)
            watched.look_later(self.clock())

    def carry_out_stops(self) -> None:
        """Send every stop request that has not been sent in this term."""
        if not self.is_asked and (self._stops_due is None or self.clock() < self._stops_due):
            return
        self._stops_due = None
        for job, attempt in self.store.active_jobs():
            watched = self._watched.get(attempt.id)
            if job.stop is None or watched is None or watched.stop_sent is job.stop.kind:
                continue
            if not self.carefully(watched, partial(self._send_stop, watched, job)):
                self._stops_due = self.clock() + RETRY_SECONDS

    def renew_leases(self) -> None:
        """Renew the lease of every attempt that is due."""
        for watched in self.all():
            if self.clock() - watched.lease_renewed_at >= RENEW_SECONDS:
                self.adopt(watched)

    def adopt(self, watched: Watched) -> None:
        """Take an attempt into this server's term, or renew its lease. Raises `EpochLost` if a later term has it."""
        identity = self.identity
        watched.lease_renewed_at = self.clock()
        if not self.store.adopt(watched.attempt_id, identity.owner, identity.epoch, self.now() + LEASE_SECONDS):
            self._reload(watched)

    def lose(self, watched: Watched, survivors: tuple[Survivor, ...]) -> None:
        """Apply the loss of an attempt, of which nothing runs any more; its end, should it be on record after all."""
        record = self.engine.channel(watched.attempt_id).exit()
        if record is not None:
            self._finish(watched, record)
            return
        job = self.store.job(watched.job_id)
        if job is not None and self._has_all_records(watched):
            jitter = random.random()  # noqa: S311 - spreads retries, guards nothing
            self.conclude(watched, loss_of(job, survivors, self._folder(job.id), self.now(), jitter))

    def give_back(self, watched: Watched, wait: float) -> None:
        """Apply that an attempt never started."""
        job = self.store.job(watched.job_id)
        if job is not None:
            self.conclude(watched, never_started(job, self.now(), wait))

    def conclude(self, watched: Watched, ending: Ending) -> None:
        """Move the job by the end of its attempt, once, and let go of the attempt."""
        job = self.store.conclude(watched.job_id, watched.number, self.identity.epoch, ending)
        if job is None and self._is_open(watched):
            log.info("ending_refused", job=watched.job_id, attempt=watched.number, state=ending.state)
            watched.look_again(self.clock() + RETRY_SECONDS)
            return
        self._let_go(watched)
        if job is not None:
            log.info("attempt_ended", job=job.id, attempt=watched.number, state=job.state, reason=job.reason)
            if job.is_terminal:
                forget_secrets(self._folder(job.id))

    def close(self) -> None:
        """Begin no more looks for artifacts."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _finish(self, watched: Watched, record: ExitRecord) -> None:
        watched.is_ending = True
        if not self._has_all_records(watched):
            return
        job, attempt = self.store.job_with_attempt(watched.job_id) or (None, None)
        if job is None or attempt is None:
            self._let_go(watched)
            return
        missing = self._missing(watched, job, attempt, record)
        if missing is None:
            watched.look_again(self.clock() + RETRY_SECONDS)
            return
        self.conclude(watched, ending_of(job, attempt, record, self._folder(job.id), missing))
        self.engine.channel(watched.attempt_id).acknowledge()

    def _missing(self, watched: Watched, job: Job, attempt: Attempt, record: ExitRecord) -> list[str] | None:
        """Give the declared artifacts that are not there; None while they are looked for, in a thread of its own."""
        if not job.spec.artifacts or record.exit_code != 0:
            return []
        if watched.missing is None:
            root = str(job.spec.cwd or attempt.live.get("cwd") or self._folder(job.id).outputs)
            until = self.clock() + ARTIFACTS_SECONDS
            look = partial(missing_artifacts, root, job.spec.artifacts, lambda: self.clock() > until)
            watched.missing = self._pool.submit(look)
        return watched.missing.result() if watched.missing.done() else None

    def _has_all_records(self, watched: Watched) -> bool:
        """Take in what is left of an ended attempt's records, some at a time; tell whether that was all."""
        try:
            for _ in range(INTAKES_AT_ONCE):
                if not self._take_in(watched, final=True):
                    return watched.attempt_id in self._watched
        except (EpochLost, Unavailable):
            raise
        except Exception:
            if watched.troubles < TROUBLES_WITH_RECORDS:
                raise
            log.exception("records_given_up", job=watched.job_id, attempt=watched.number)
            return True
        watched.look_again(self.clock())
        return False

    def _take_in(self, watched: Watched, *, final: bool) -> bool:
        """Take in one part of what is new; tell whether there may be more."""
        records = self.engine.channel(watched.attempt_id).read(watched.cursor, final=final)
        intake, seen = digest(records, watched.seen, watched.cursor, self.now())
        if not is_empty(intake) or records.more:
            if not self.store.take_in(watched.attempt_id, self.identity.epoch, intake):
                self._reload(watched)
                return False
            watched.cursor, watched.seen = intake.after, seen
        if not watched.is_running and watched.seen.runs:
            began = watched.seen.began_at or self.now()
            self.store.mark_running(watched.job_id, watched.number, self.identity.epoch, began)
            watched.is_running = True
        return records.more

    def _reload(self, watched: Watched) -> None:
        """Go by the store again after it refused an intake: this server's memory of the attempt was wrong."""
        found = self.store.job_with_attempt(watched.job_id)
        if found is None or found[1] is None or found[1].id != watched.attempt_id or not found[1].is_open:
            self._let_go(watched)
            return
        if found[1].lease_epoch > self.identity.epoch:
            raise EpochLost(f"Attempt {watched.attempt_id} is another server's now")
        watched.cursor = found[1].cursor
        watched.seen = Seen(progress=found[1].progress, live=found[1].live)
        watched.look_again(self.clock() + RETRY_SECONDS)

    def _send_stop(self, watched: Watched, job: Job) -> None:
        stop = job.stop
        if stop is None:
            return
        record = StopRecord(kind=stop.kind, who=stop.who, why=stop.why, at=stop.at, epoch=self.identity.epoch)
        self.engine.channel(watched.attempt_id).send_stop(record)
        watched.stop_sent = StopKind(stop.kind)
        log.info("stop_sent", job=job.id, attempt=watched.number, kind=stop.kind)

    def _is_open(self, watched: Watched) -> bool:
        found = self.store.job_with_attempt(watched.job_id)
        return found is not None and found[1] is not None and found[1].id == watched.attempt_id and found[1].is_open

    def _let_go(self, watched: Watched) -> None:
        self._watched.pop(watched.attempt_id, None)
        self.engine.unwatch(watched.attempt_id)
        self.is_asked = self.has_requests = True

    def _folder(self, job_id: str) -> JobDir:
        return JobDir(str(self.settings.jobs_root / job_id))
