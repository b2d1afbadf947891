"""Starting jobs: the head of the queue gets the next free slot, strictly in order."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import structlog

from stoker.domain.errors import InvalidRequest
from stoker.domain.ids import new_attempt_id
from stoker.domain.job import Attempt, Job
from stoker.domain.policy import BACKOFF_CEILING_SECONDS
from stoker.domain.queue import is_ready, next_to_start
from stoker.recipes.port import Launch, Recipe
from stoker.scheduler.attempts import LEASE_SECONDS, Attempts
from stoker.scheduler.ending import launch_failed
from stoker.scheduler.orders import launch_request, make_order

log = structlog.get_logger()

QUEUE_LOOKAHEAD = 200
"""So many queued jobs are looked at for one that is ready; more can't all be in backoff."""

LAUNCH_RETRY_SECONDS = 5.0
"""The wait after a launch that this machine refused (no memory, no processes, no disk), longer each time."""


class Starting:
    """Claims queued jobs and launches their attempts."""

    def __init__(self, attempts: Attempts, recipe: Callable[[str], Recipe]) -> None:
        """Take the open attempts and the way to a recipe by its name."""
        self._attempts, self._recipe = attempts, recipe
        self._next_ready: float | None = None

    def next_due(self) -> float | None:
        """Give the moment (monotonic) at which a queued job's backoff has passed."""
        return self._next_ready

    def start_next_jobs(self) -> None:
        """Start jobs while there is a free slot and one that is ready."""
        attempts = self._attempts
        if not attempts.is_asked and (self._next_ready is None or attempts.clock() < self._next_ready):
            return
        while (job := self._next()) is not None:
            self._start(job)

    def _next(self) -> Job | None:
        attempts = self._attempts
        self._next_ready = None
        if len(attempts) >= attempts.settings.slots:
            return None
        queue, now = attempts.store.queue(QUEUE_LOOKAHEAD), attempts.now()
        waits = [job.not_before - now for job in queue if job.not_before is not None and not is_ready(job, now)]
        if waits:
            self._next_ready = attempts.clock() + min(waits)
        return next_to_start(queue, len(attempts), attempts.settings.slots, now)

    def _start(self, job: Job) -> None:
        began = time.perf_counter()
        attempt = self._new_attempt(job)
        launch = self._prepare(job, attempt)
        live = {"reports": launch.reports, "cwd": launch.cwd} if isinstance(launch, Launch) else {}
        attempt = replace(attempt, live=live)
        opened = self._attempts.store.open_attempt(attempt, self._attempts.identity.epoch)
        if opened is None:
            return
        watched = self._attempts.watch(opened, attempt)
        if isinstance(launch, str):
            self._attempts.conclude(watched, launch_failed(launch, self._attempts.now()))
            return
        self._launch(opened, attempt, launch)
        log.info(
            "attempt_launched", job=job.id, attempt=attempt.number, ms=round(1e3 * (time.perf_counter() - began), 1)
        )

    def _launch(self, job: Job, attempt: Attempt, launch: Launch) -> None:
        attempts = self._attempts
        order = make_order(job, attempt, launch, attempts.settings, attempts.identity)
        watched = attempts.watch(job, attempt)
        try:
            handle = attempts.engine.launch(attempts.engine.plan(order, launch.files))
        except OSError as error:
            log.warning("launch_refused", job=job.id, attempt=attempt.number, error=str(error))
            if attempts.engine.abandon(attempt.id, attempts.identity.epoch):
                attempts.give_back(watched, min(BACKOFF_CEILING_SECONDS, LAUNCH_RETRY_SECONDS * attempt.number))
            return
        attempts.engine.watch(attempt.id)
        attempts.store.set_handle(attempt.id, handle, attempts.identity.epoch)

    def _prepare(self, job: Job, attempt: Attempt) -> Launch | str:
        """Ask the recipe what to execute; a sentence where there is nothing that could be."""
        try:
            return self._recipe(job.spec.recipe).launch(launch_request(job, attempt, self._attempts.settings))
        except (InvalidRequest, OSError) as error:
            return f"The job could not be launched - {error}"

    def _new_attempt(self, job: Job) -> Attempt:
        attempts = self._attempts
        return Attempt(
            id=new_attempt_id(),
            job_id=job.id,
            number=job.attempt + 1,
            engine=attempts.engine.name,
            created_at=attempts.now(),
            lease_owner=attempts.identity.owner,
            lease_epoch=attempts.identity.epoch,
            lease_until=attempts.now() + LEASE_SECONDS,
            overrides={"resume_from": job.resume_from} if job.resume_from else {},
        )
