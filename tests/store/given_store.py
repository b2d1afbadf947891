"""Jobs in the states that tests start from."""

import time
from collections.abc import Callable
from typing import Any

from stoker.domain.failure import Reason
from stoker.domain.job import Attempt, Job
from stoker.domain.limits import Limits
from stoker.domain.spec import JobSpec
from stoker.domain.states import JobState
from stoker.domain.stop import StopKind, StopRequest
from stoker.store.port import Ending, Intake, MetricRow, NewJob
from stoker.store.sql import SqlStore

SPEC = JobSpec(
    recipe="command",
    command=("python", "train.py"),
    config={"learning_rate": 2e-4, "nested": {"list": [1, None, True]}},
    env={"WORD": "ünïcode"},
    secrets=("TOKEN",),
    gpus=1,
    limits=Limits(stall_seconds=5.0, phase_seconds={"saving": 60.0}),
)


def new(job_id: str = "job", **given: Any) -> NewJob:
    return NewJob(**({"id": job_id, "owner": "ada", "spec": SPEC, "body_hash": f"hash of {job_id}", "at": 1.0} | given))


def queued(store: SqlStore, job_id: str = "job", **given: Any) -> Job:
    return store.submit(new(job_id, **given))[0]


def attempt(job: Job | str = "job", number: int = 1, **given: Any) -> Attempt:
    job_id = job if isinstance(job, str) else job.id
    values = {"id": f"{job_id}/{number}", "engine": "local", "lease_epoch": 0, "created_at": 2.0}
    return Attempt(job_id=job_id, number=number, **(values | given))


def pending(store: SqlStore, epoch: int, job_id: str = "job", **given: Any) -> Job:
    opened = store.open_attempt(attempt(queued(store, job_id, **given)), epoch)
    assert opened is not None
    return opened


def running(store: SqlStore, epoch: int, job_id: str = "job", **given: Any) -> Job:
    job = pending(store, epoch, job_id, **given)
    assert store.mark_running(job.id, 1, epoch, 3.0)
    return now(store, job.id)


def paused(store: SqlStore, epoch: int, job_id: str = "job", **given: Any) -> Job:
    running(store, epoch, job_id, **given)
    return ended(store, epoch, job_id, state=JobState.PAUSED, exit_code=0)


def terminal(store: SqlStore, epoch: int, job_id: str = "job", state: JobState = JobState.COMPLETED) -> Job:
    running(store, epoch, job_id)
    return ended(store, epoch, job_id, state=state)


def ended(store: SqlStore, epoch: int, job_id: str = "job", number: int = 1, **given: Any) -> Job:
    job = store.conclude(job_id, number, epoch, ending(**given))
    assert job is not None
    return job


def in_state(store: SqlStore, epoch: int, state: JobState, job_id: str = "job") -> Job:
    makers: dict[JobState, Callable[..., Job]] = {
        JobState.PENDING: pending,
        JobState.RUNNING: running,
        JobState.PAUSED: paused,
    }
    if state is JobState.QUEUED:
        return queued(store, job_id)
    if state in makers:
        return makers[state](store, epoch, job_id)
    return terminal(store, epoch, job_id, state)


def ending(state: JobState = JobState.COMPLETED, **given: Any) -> Ending:
    values: dict[str, Any] = {"state": state, "at": 9.0, "ran": True}
    if state is JobState.FAILED:
        values |= {"reason": Reason.EXITED, "error": "The training process exited with code 3", "exit_code": 3}
    return Ending(**(values | given))


def stop(kind: StopKind = StopKind.CANCELLED, at: float = 5.0) -> StopRequest:
    return StopRequest(kind=kind, who="ada", why="enough", at=at)


def rows(first: int, last: int) -> tuple[MetricRow, ...]:
    return tuple(
        MetricRow(seq=seq, at=10.0 + seq, step=seq, epoch=seq / 10, kind="train", values={"loss": 1 / (seq + 1)})
        for seq in range(first, last + 1)
    )


def intake(before: str = "", after: str = "a", **given: Any) -> Intake:
    return Intake(before=before, after=after, **given)


def now(store: SqlStore, job_id: str = "job") -> Job:
    job = store.job(job_id)
    assert job is not None
    return job


def versions(store: SqlStore, job_id: str = "job") -> list[int]:
    return [event.version for event in store.events(job_id)]


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
