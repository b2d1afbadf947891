"""A scheduler over a real store and an engine whose every answer a test decides; it is ticked by hand."""

import os
import time
from dataclasses import dataclass, field

from stoker.domain.spec import JobSpec
from stoker.engines.port import Finding, News, Plan, Records
from stoker.recipes.port import Launch
from stoker.rundir.records import ExitRecord
from stoker.scheduler.loop import Scheduler
from stoker.settings import Settings
from stoker.store.port import NewJob
from stoker.store.sql import open_store


@dataclass
class Place:
    """What there is of one attempt."""

    finding: Finding = Finding.ALIVE
    records: list = field(default_factory=list)
    exit: ExitRecord | None = None
    stops: list = field(default_factory=list)
    acknowledged: int = 0


class ScriptedChannel:
    """The channel to a scripted attempt."""

    def __init__(self, place):
        self.place = place

    def read(self, cursor, *, final=False):
        at = int(cursor or 0)
        if at >= len(self.place.records):
            return Records(cursor=cursor)
        found = self.place.records[at]
        if isinstance(found, Exception):
            raise found
        return Records(cursor=str(at + 1), more=True, **found)

    def exit(self):
        return self.place.exit

    def send_stop(self, stop):
        self.place.stops.append(stop.kind)

    def fence(self, epoch):
        pass

    def acknowledge(self):
        self.place.acknowledged += 1


class ScriptedEngine:
    """An engine that starts nothing and says what it is told to say."""

    name = "scripted"

    def __init__(self):
        self.places, self.cleaned, self.trouble, self.clean_up_trouble = {}, [], [], []
        self._news = os.eventfd(0, os.EFD_NONBLOCK)

    def plan(self, order, files):
        return Plan(attempt_id=order.attempt_id, order=order, argv=(), directory="", files=files)

    def launch(self, plan):
        self.raise_trouble()
        self.places[plan.attempt_id] = Place()
        return {"launched": True}

    def find(self, attempt_id, handle):
        self.raise_trouble()
        return self.places[attempt_id].finding if attempt_id in self.places else Finding.ABSENT

    def abandon(self, attempt_id, epoch):
        return True

    def clean_up(self, attempt_id):
        if self.clean_up_trouble:
            raise self.clean_up_trouble.pop()
        self.cleaned.append(attempt_id)
        return ()

    def channel(self, attempt_id):
        return ScriptedChannel(self.places.setdefault(attempt_id, Place()))

    def watch(self, attempt_id):
        return False

    def unwatch(self, attempt_id):
        pass

    def fileno(self):
        return self._news

    def news(self):
        return News()

    def raise_trouble(self):
        if self.trouble:
            raise self.trouble.pop(0)


class AnyRecipe:
    """A recipe that launches anything."""

    name = "command"

    def launch(self, request):
        return Launch(argv=("true",), env={}, cwd="/")


class Desk:
    """The scheduler, its store and its engine."""

    def __init__(self, home, slots=2):
        self.clock_value = 1000.0
        self.store = open_store(home / "stoker.db")
        self.engine = ScriptedEngine()
        self.scheduler = Scheduler(
            store=self.store,
            engine=self.engine,
            recipe=lambda name: AnyRecipe(),
            settings=Settings(home=home, slots=slots),
            clock=lambda: self.clock_value,
        )

    def submit(self, job_id, **facts):
        spec = JobSpec(recipe="command", command=("true",), **facts)
        self.store.submit(NewJob(id=job_id, owner="local", spec=spec, body_hash=job_id, at=time.time()))
        self.scheduler.wake()

    def tick(self, times=1, seconds=1.0):
        """Let time pass and tick; looks that run in threads are waited for."""
        for _ in range(times):
            self.clock_value += seconds
            self.scheduler.tick()
            for look in [*self.scheduler._inspection._looks.values(), *self.scheduler._inspection._clean_ups.values()]:
                look.exception()

    def state(self, job_id):
        return self.store.job(job_id).state.value

    def place(self, job_id):
        return self.engine.places[self.store.attempts(job_id)[-1].id]


def ended(nonce="", **facts):
    """Give an exit record of a command that ran and left with 0."""
    return ExitRecord(nonce=nonce, at=time.time(), **{"exit_code": 0, "executed": True, **facts})
