"""What every verb needs: the store, the engine, the recipes, the settings, the time, and the scheduler's ear."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from stoker.domain.actor import Actor, Scope
from stoker.domain.errors import Forbidden, NotFound
from stoker.domain.job import Attempt, Job
from stoker.engines.port import AttemptChannel, Engine
from stoker.recipes.port import Recipe
from stoker.rundir.layout import JobDir
from stoker.settings import Settings
from stoker.store.port import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """The parts of a running server that verbs work with. `now` gives UTC seconds; `wake` never blocks."""

    settings: Settings
    store: Store
    engine: Engine
    recipe: Callable[[str], Recipe]
    wake: Callable[[], None]
    reconcile: Callable[[], Mapping[str, object]]
    now: Callable[[], float] = field(default=time.time)

    def job_dir(self, job_id: str) -> JobDir:
        """Give the folders that last of a job."""
        return JobDir(str(self.settings.jobs_root / job_id))

    def channel(self, attempt: Attempt) -> AttemptChannel:
        """Give the channel to an attempt."""
        return self.engine.channel(attempt.id)


def visible(context: Context, actor: Actor, job_id: str) -> tuple[Job, Attempt | None]:
    """Give a job that the actor may see, with its newest attempt.

    Raises `NotFound` in the same words for one that is not there and one that is another's.
    """
    require(actor, Scope.READ)
    found = context.store.job_with_attempt(job_id)
    if found is None or not actor.sees(found[0].owner):
        raise NotFound(f"There is no job {job_id}. List the jobs to see which there are")
    return found


def require(actor: Actor, scope: Scope) -> None:
    """Raise `Forbidden` unless the actor holds the scope."""
    if not actor.may(scope):
        raise Forbidden(f"This key lacks the scope '{scope}'. Use one that has it, or ask for one")
