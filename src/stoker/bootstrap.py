"""The only place that picks a concrete store, engine and set of recipes, and puts a server together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from stoker.engines.local import LocalEngine
from stoker.recipes import registry
from stoker.scheduler.loop import Scheduler
from stoker.service.context import Context
from stoker.settings import Settings
from stoker.store.home import HomeLock, lock_home
from stoker.store.sql import SqlStore, open_store

STOP_SECONDS = 10.0


@dataclass(slots=True)
class House:
    """A server without its HTTP faces: a locked home, a store, an engine, a scheduler."""

    settings: Settings
    lock: HomeLock
    store: SqlStore
    engine: LocalEngine
    scheduler: Scheduler
    context: Context

    def __enter__(self) -> Self:
        """Begin to schedule."""
        self.scheduler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop scheduling and leave every job running."""
        self.scheduler.stop(STOP_SECONDS)
        self.engine.close()
        self.store.close()
        self.lock.release()


@contextmanager
def open_home(settings: Settings) -> Iterator[SqlStore]:
    """Hold a home on which no server runs, and lend its store. Raises `HomeUnusable`, `HomeLocked`."""
    with lock_home(settings.home):
        store = open_store(settings.database or settings.home / "stoker.db")
        try:
            yield store
        finally:
            store.close()


def build(settings: Settings) -> House:
    """Lock the home, open the store, and wire the parts together. Raises `HomeUnusable`, `HomeLocked`."""
    lock = lock_home(settings.home)
    try:
        store = open_store(settings.database or settings.home / "stoker.db")
    except BaseException:
        lock.release()
        raise
    os.makedirs(settings.jobs_root, mode=0o700, exist_ok=True)
    engine = LocalEngine(settings.attempts_root)
    scheduler = Scheduler(store=store, engine=engine, recipe=registry.get, settings=settings)
    context = Context(
        settings=settings,
        store=store,
        engine=engine,
        recipe=registry.get,
        wake=scheduler.wake,
        reconcile=scheduler.reconcile,
    )
    return House(settings, lock, store, engine, scheduler, context)
