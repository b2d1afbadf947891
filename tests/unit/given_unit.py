"""Jobs, attempts and lines as tests of pure decisions need them."""

from typing import Any

from stoker.domain.job import Attempt, Job
from stoker.domain.spec import JobSpec
from stoker.domain.states import JobState
from stoker.domain.stop import StopKind, StopRequest

NOW = 1_800_000_000.0


def job(**facts: Any) -> Job:
    plain: dict[str, Any] = {
        "id": "job-1",
        "owner": "local",
        "spec": JobSpec(),
        "state": JobState.RUNNING,
        "created_at": NOW - 100,
        "updated_at": NOW - 10,
        "sequence": 1,
        "attempt": 1,
    }
    return Job(**(plain | facts))


def attempt(**facts: Any) -> Attempt:
    plain: dict[str, Any] = {
        "id": "a-1",
        "job_id": "job-1",
        "number": 1,
        "engine": "local",
        "lease_epoch": 1,
        "created_at": NOW - 50,
    }
    return Attempt(**(plain | facts))


def stop(kind: StopKind) -> StopRequest:
    return StopRequest(kind=kind, who="a person", why="a test", at=NOW)
