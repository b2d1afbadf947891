"""The scheduler: one thread that looks at what is new, ends what has ended, stops what must stop, starts what may."""

from __future__ import annotations

import os
import queue
import select
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future

import structlog

from stoker.domain.errors import EpochLost, StokerError, Unavailable
from stoker.engines.port import Engine
from stoker.recipes.port import Recipe
from stoker.scheduler.attempts import Attempts
from stoker.scheduler.inspection import Inspection
from stoker.scheduler.orders import Identity
from stoker.scheduler.parts import Parts
from stoker.scheduler.starting import Starting
from stoker.scheduler.tidying import begin_tidying
from stoker.settings import Settings
from stoker.store.port import Store

log = structlog.get_logger()

IDLE_SECONDS = 60.0
"""With nothing to do the loop sleeps this long at most; every wake-up that matters is an event."""

TROUBLE_SECONDS = 0.5
"""The pause after a tick that failed, for example because the database was locked."""

PRUNE_SECONDS = 600.0


class Scheduler:
    """Runs in a thread of its own. `wake`, `reconcile` and `stop` may be called from any thread."""

    def __init__(
        self,
        *,
        store: Store,
        engine: Engine,
        recipe: Callable[[str], Recipe],
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Take the parts; begin nothing."""
        owner = f"pid-{os.getpid()}"
        identity = Identity(home_id=store.home_id(), owner=owner, epoch=store.acquire_term(owner))
        self._store, self._engine, self._settings, self._clock = store, engine, settings, clock
        parts = Parts(store=store, engine=engine, settings=settings, identity=identity, clock=clock, now=now)
        self._parts, self._began_at = parts, now()
        self._attempts = Attempts(parts)
        self._inspection = Inspection(self._attempts, engine, self._turn)
        self._starting = Starting(self._attempts, recipe)
        self._requests: queue.SimpleQueue[tuple[Callable[[], Mapping[str, str]], Future[Mapping[str, str]]]] = (
            queue.SimpleQueue()
        )
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.epoll()
        self._poll.register(self._wakeup, select.EPOLLIN)
        self._poll.register(engine.fileno(), select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self._pruned_at = clock()
        self.is_open = threading.Event()
        self.is_stopping = threading.Event()
        self.lost_term = threading.Event()

    def start(self) -> None:
        """Begin; ready once `is_open` is set, after every open attempt was reconciled."""
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """End the thread and leave every job running."""
        self.is_stopping.set()
        self.wake()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        self._inspection.close()
        self._attempts.close()
        while not self._requests.empty():
            self._requests.get()[1].set_exception(Unavailable("The server stops. Try again soon"))

    def wake(self) -> None:
        """Make the loop look at the store now. Never blocks."""
        self._attempts.has_requests = True
        self._turn()

    def reconcile(self, timeout: float = 30.0) -> Mapping[str, str]:
        """Look for every open attempt now and act on it; give what was found by attempt id."""
        answer: Future[Mapping[str, str]] = Future()
        self._requests.put((self._inspection.inspect_all, answer))
        self.wake()
        try:
            return answer.result(timeout)
        except TimeoutError as error:
            raise Unavailable(f"The scheduler did not answer within {timeout:g} s. Try again") from error

    def tick(self) -> None:
        """Every duty once, ends before beginnings."""
        self._attempts.begin_tick()
        self._attempts.look_at_news()
        self._inspection.apply_findings()
        self._inspection.inspect_due()
        self._attempts.carry_out_stops()
        self._starting.start_next_jobs()
        self._attempts.renew_leases()
        self._answer_requests()
        self._prune()

    def _turn(self) -> None:
        """Make the loop take a turn, for news that are not in the store."""
        os.eventfd_write(self._wakeup, 1)

    def _run(self) -> None:
        begin_tidying(self._parts, self._began_at)
        while not self.is_stopping.is_set():
            self._attempts.has_requests = True
            try:
                self._inspection.adopt_all()
                self.is_open.set()
                self._loop()
            except EpochLost:
                log.exception("term_lost", remedy="another server runs on this store; this one stops scheduling")
                self.lost_term.set()
                return
            except StokerError as error:
                log.warning("tick_failed", error=str(error))
                self._rest()
            except Exception:
                log.exception("tick_crashed")
                self._rest()

    def _loop(self) -> None:
        while not self.is_stopping.is_set():
            self.tick()
            if not self._wait(self._pause()):
                self._attempts.has_requests = True  # a second net, should a wake-up ever be missed

    def _pause(self) -> float:
        moments = (self._attempts.next_due(), self._inspection.next_due(), self._starting.next_due())
        waits = [moment - self._clock() for moment in moments if moment is not None]
        return max(0.0, min([IDLE_SECONDS, *waits]))

    def _wait(self, seconds: float) -> bool:
        """Wait for news; tell whether there was any."""
        news = self._poll.poll(seconds)
        if any(descriptor == self._wakeup for descriptor, _ in news):
            os.eventfd_read(self._wakeup)
        return bool(news)

    def _rest(self) -> None:
        """Pause after a failed tick, whatever news there is; until a tick succeeds this server is not ready."""
        self.is_open.clear()
        self.is_stopping.wait(TROUBLE_SECONDS)

    def _answer_requests(self) -> None:
        while not self._requests.empty():
            work, answer = self._requests.get()
            try:
                answer.set_result(work())
            except Exception as error:  # noqa: BLE001 - handed on to who asked
                answer.set_exception(error)

    def _prune(self) -> None:
        if self._clock() - self._pruned_at >= PRUNE_SECONDS:
            self._pruned_at = self._clock()
            self._store.prune_feed(self._settings.feed_keep)
