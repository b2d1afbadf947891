"""A home with thousands of jobs that are over, made through the store."""

import os
import random
import shutil
import time
from pathlib import Path

from stoker.bootstrap import open_home
from stoker.domain.failure import Reason
from stoker.domain.ids import new_attempt_id
from stoker.domain.job import Attempt
from stoker.domain.spec import JobSpec
from stoker.domain.states import JobState
from stoker.settings import Settings
from stoker.store.port import Ending, Intake, MetricRow, NewJob, Store
from tests.bench.place import Place

JOBS = 10_000
METRICS = 3


def home_with_history(place: Place, count: int | None = None) -> str:
    """Give a new home whose store holds `count` jobs that are over; what is made is made once per run."""
    count = count or place.count(JOBS, 1_000)
    origin, home = os.path.join(place.folder, f"history-{count}"), place.file("home")
    if not os.path.exists(origin):
        _fill(origin, count)
    shutil.copytree(origin, home)
    return home


def job_id(number: int) -> str:
    """Give the id of a job of the history."""
    return f"history-{number:06d}"


def _fill(origin: str, count: int) -> None:
    with open_home(Settings(home=Path(origin))) as store:
        # The history must be there, not be quick to come about: nothing here needs to survive a power cut.
        store._database._writer.exec_driver_sql("PRAGMA synchronous=OFF")
        epoch = store.acquire_term("bench")
        for number in range(count):
            _live_through(store, number, epoch)


def _live_through(store: Store, number: int, epoch: int) -> None:
    at = time.time() - 86_400 + number
    spec = JobSpec(recipe="command", command=("python", "train.py", "--seed", str(number)))
    new = NewJob(id=job_id(number), owner="local", spec=spec, body_hash=f"{number}", at=at, name=f"run {number}")
    job, _ = store.submit(new)
    attempt = Attempt(
        id=new_attempt_id(), job_id=job.id, number=1, engine="local", created_at=at, lease_owner="bench",
        lease_epoch=epoch, lease_until=at + 60,
    )  # fmt: skip
    store.open_attempt(attempt, epoch)
    store.take_in(attempt.id, epoch, _intake(number))
    store.conclude(job.id, 1, epoch, _ending(number, at))


def _intake(number: int) -> Intake:
    chance = random.Random(number)
    points = [
        MetricRow(seq=seq, at=time.time(), step=seq, epoch=0.1 * seq, kind="step", values={"loss": chance.random()})
        for seq in range(METRICS)
    ]
    progress = {"current_step": METRICS, "total_steps": METRICS, "progress": 100.0, "loss": chance.random()}
    return Intake(before="", after="[]", metrics=tuple(points), progress=progress, live={"watched_by": "callback"})


def _ending(number: int, at: float) -> Ending:
    if number % 10:
        return Ending(state=JobState.COMPLETED, at=at + 600, ran=True, exit_code=0)
    error = "The training process exited with code 1"
    return Ending(state=JobState.FAILED, at=at + 600, ran=True, reason=Reason.EXITED, error=error, exit_code=1)
