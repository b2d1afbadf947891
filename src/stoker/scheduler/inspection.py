"""Inspection: what is really there of every open attempt, at the start, on demand, and after a silence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import structlog

from stoker.engines.port import Engine, Finding
from stoker.rundir.records import Survivor
from stoker.scheduler.attempts import Attempts
from stoker.scheduler.watched import Watched

log = structlog.get_logger()

INSPECT_SECONDS = 10.0
"""Every open attempt is looked for this often, should an event have been missed."""

HELLO_SECONDS = 30.0
"""An attempt that nobody claimed within this time after its launch is given up."""

UNRESPONSIVE_SECONDS = 60.0
"""A supervisor that does not answer is ended when its job hangs for this much longer than its phase allows."""

T = TypeVar("T")

PARALLEL = 16


class Inspection:
    """Looks for attempts in parallel, each within the engine's bound, and acts on the findings in the loop's thread."""

    def __init__(self, attempts: Attempts, engine: Engine, wake: Callable[[], None]) -> None:
        """Take the parts; look for nothing yet."""
        self._attempts, self._engine, self._wake = attempts, engine, wake
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="inspect")
        self._looks: dict[str, Future[Finding]] = {}
        self._clean_ups: dict[str, Future[tuple[Survivor, ...]]] = {}
        self._is_first = True

    def adopt_all(self) -> Mapping[str, str]:
        """Take every open attempt over into this term and act on what is found of each. Repeats harmlessly."""
        for job, attempt in self._attempts.store.active_jobs():
            watched = self._attempts.watch(job, attempt)
            watched.stop_sent = None
            self._attempts.adopt(watched)
        found = self.inspect_all()
        self._is_first = False
        if found:
            log.info("reconciled", attempts=len(found), findings=found)
        return found

    def inspect_all(self) -> Mapping[str, str]:
        """Look for every open attempt now, in parallel, and act on it; give the findings by attempt id."""
        for watched in self._attempts.all():
            self._begin(watched)
        looks = dict(self._looks)
        wait(looks.values())
        self.apply_findings()
        return {
            attempt_id: "unknown" if look.exception() else look.result().value for attempt_id, look in looks.items()
        }

    def inspect_due(self) -> None:
        """Begin to look for attempts whose supervisor died and for those not looked for in a while."""
        died = self._attempts.take_deaths()
        for watched in self._attempts.all():
            watched.is_dead = watched.is_dead or watched.attempt_id in died
            if watched.is_dead or self._attempts.clock() >= watched.inspect_at:
                self._begin(watched)

    def next_due(self) -> float | None:
        """Give the moment at which an attempt must be looked for again."""
        return min((watched.inspect_at for watched in self._attempts.all()), default=None)

    def apply_findings(self) -> None:
        """Act on every look and every clean-up that is done."""
        for attempt_id in [one for one, look in self._looks.items() if look.done()]:
            self._apply(attempt_id, self._looks.pop(attempt_id), self._act)
        for attempt_id in [one for one, clean_up in self._clean_ups.items() if clean_up.done()]:
            self._apply(attempt_id, self._clean_ups.pop(attempt_id), self._attempts.lose)

    def _apply(self, attempt_id: str, work: Future[T], act: Callable[[Watched, T], None]) -> None:
        """Act on work that is done. What failed, in the work or in the act, is begun again after a while."""
        watched = self._attempts.get(attempt_id)
        if watched is not None:
            self._attempts.carefully(watched, lambda: act(watched, work.result()))

    def close(self) -> None:
        """Begin nothing more; what is under way ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self, watched: Watched) -> None:
        watched.inspect_at = self._attempts.clock() + INSPECT_SECONDS
        if watched.attempt_id in self._looks or watched.attempt_id in self._clean_ups:
            return
        watched.is_dead = False
        look = self._pool.submit(self._engine.find, watched.attempt_id, watched.handle)
        self._looks[watched.attempt_id] = look
        look.add_done_callback(self._done)

    def _done(self, _look: Future[Any]) -> None:
        self._wake()

    def _act(self, watched: Watched, finding: Finding) -> None:
        if finding is not Finding.UNRESPONSIVE:
            watched.unresponsive_since = None
        match finding:
            case Finding.ENDED:
                watched.has_news = True
                self._attempts.look(watched)
            case Finding.ALIVE:
                watched.has_news = True
                self._engine.channel(watched.attempt_id).fence(self._attempts.identity.epoch)
                self._engine.watch(watched.attempt_id)
            case Finding.UNRESPONSIVE:
                self._bear_with(watched)
            case Finding.DEAD:
                self._clean_up(watched)
            case Finding.REBOOTED:
                self._attempts.lose(watched, ())
            case Finding.UNCLAIMED:
                self._give_up_unclaimed(watched)
            case Finding.ABSENT if watched.handle or watched.is_running:
                self._clean_up(watched)
            case Finding.ABSENT:
                self._attempts.give_back(watched, 0.0)

    def _bear_with(self, watched: Watched) -> None:
        """Wait for a supervisor that does not answer; end it only when its job, by a sign that can tell, hangs too."""
        silent, allowed = watched.note_silence(self._attempts.clock()), watched.silence_allowed()
        if allowed is not None and silent >= UNRESPONSIVE_SECONDS + allowed:
            log.warning("supervisor_ended", job=watched.job_id, attempt=watched.number, why="it does not answer")
            self._engine.end_supervisor(watched.attempt_id)

    def _clean_up(self, watched: Watched) -> None:
        log.warning("supervisor_died", job=watched.job_id, attempt=watched.number)
        clean_up = self._pool.submit(self._engine.clean_up, watched.attempt_id)
        self._clean_ups[watched.attempt_id] = clean_up
        clean_up.add_done_callback(self._done)

    def _give_up_unclaimed(self, watched: Watched) -> None:
        """Settle by the claim whether an attempt ever starts.

        After a restart at once: the server died before it started a supervisor, and the attempt is given back free of
        charge. Else after a while: a supervisor was started and never spoke, which counts as a loss.
        """
        waited = self._attempts.clock() - watched.since
        if not self._is_first and waited < HELLO_SECONDS:
            return
        if not self._engine.abandon(watched.attempt_id, self._attempts.identity.epoch):
            return
        if self._is_first:
            self._attempts.give_back(watched, 0.0)
        else:
            self._attempts.lose(watched, ())
