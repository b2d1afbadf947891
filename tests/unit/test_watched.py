"""What the scheduler keeps in mind of an attempt, and how it takes records in."""

import os
from pathlib import Path

import pytest

from stoker.domain.limits import Limits
from stoker.domain.spec import JobSpec
from stoker.domain.states import JobState
from stoker.engines.directory import DirectoryChannel
from stoker.recipes.port import Launch
from stoker.rundir.layout import AttemptDir, RunDir
from stoker.rundir.spool import MAX_LINE_BYTES
from stoker.scheduler.attempts import Attempts
from stoker.scheduler.orders import Identity, launch_request, make_order
from stoker.scheduler.parts import Parts
from stoker.scheduler.watched import Watched
from stoker.settings import Settings
from tests.unit.given_unit import NOW, attempt, job


class FakeEngine:
    """An engine with a directory and nothing that runs."""

    name = "fake"

    def __init__(self, root):
        self.root = root

    def channel(self, attempt_id):
        return DirectoryChannel(AttemptDir(os.path.join(self.root, attempt_id)))

    def watch(self, _attempt_id):
        """Watch nothing."""


class FakeStore:
    """A store that takes everything in and remembers it."""

    def __init__(self):
        self.taken = []

    def take_in(self, _attempt_id, _epoch, intake):
        self.taken.append(intake)
        return True


@pytest.fixture
def store():
    return FakeStore()


@pytest.fixture
def attempts(tmp_path, store):
    ticks = iter(range(1000))
    return Attempts(
        Parts(
            store=store,
            engine=FakeEngine(str(tmp_path)),
            settings=Settings(home=tmp_path),
            identity=Identity(home_id="h", owner="server", epoch=1),
            clock=lambda: float(next(ticks)),
            now=lambda: NOW,
        )
    )


def test_a_line_of_many_mebibytes_does_not_hold_the_intake_up(attempts, store, tmp_path):
    run = RunDir(AttemptDir(str(tmp_path / "a-1")).run)
    os.makedirs(run.root)
    Path(run.metrics).write_bytes(b'{"step":1}\n' + b"x" * (5 * MAX_LINE_BYTES) + b'\n{"step":2}\n')
    watched = attempts.watch(job(), attempt())
    for _ in range(20):
        attempts.look(watched)
    steps = [row.step for intake in store.taken for row in intake.metrics]

    assert steps == [1, 2]
    assert watched.seen.live["bad_lines"] == 1
    assert not watched.has_news


def test_nothing_new_costs_no_transaction(attempts, store, tmp_path):
    os.makedirs(tmp_path / "a-1" / "run")
    watched = attempts.watch(job(), attempt())
    for _ in range(3):
        attempts.look(watched)

    assert store.taken == []


@pytest.mark.parametrize(("state", "is_running"), [(JobState.PENDING, False), (JobState.RUNNING, True)])
def test_an_attempt_is_watched_from_where_the_store_knows_it(state, is_running):
    known = attempt(cursor="here", progress={"loss": 1.0}, live={"executed": True}, handle={"boot": "b"})
    watched = Watched.of(job(state=state), known, 5.0)

    assert (watched.cursor, watched.is_running, watched.since) == ("here", is_running, 5.0)
    assert (watched.seen.progress, watched.handle) == ({"loss": 1.0}, {"boot": "b"})
    assert watched.seen.runs


def test_an_attempt_can_be_looked_at_again_later():
    watched = Watched.of(job(), attempt(), 0.0)
    watched.has_news = False
    watched.look_again(7.0)

    assert (watched.due, watched.has_news, watched.inspect_at) == (7.0, True, 7.0)


def test_silence_counts_only_while_neither_the_supervisor_nor_the_work_moves():
    watched = Watched.of(job(), attempt(cursor="a"), 0.0)
    first = watched.note_silence(10.0)
    still = watched.note_silence(40.0)
    watched.cursor = "b"
    moved = watched.note_silence(60.0)
    again = watched.note_silence(75.0)

    assert (first, still, moved, again) == (0.0, 30.0, 0.0, 15.0)


# Orders


def test_an_order_holds_all_that_a_supervisor_must_know_and_no_secret_value(tmp_path):
    settings = Settings(home=tmp_path, containment="sweep", log_bytes=1000)
    spec = JobSpec(secrets=("HF_TOKEN",), limits=Limits(stall_seconds=5.0))
    launch = Launch(
        argv=("python", "train.py"),
        env={"A": "1"},
        cwd="/data",
        reports=True,
        can_save=True,
        progress_files=("/data/progress.json",),
    )
    tried = attempt(id="uuid-1", number=2, gpus=("GPU-1",))
    order = make_order(job(spec=spec), tried, launch, settings, Identity(home_id="h", owner="server", epoch=9))

    assert (order.attempt_id, order.nonce, order.number, order.epoch, order.home_id) == ("uuid-1", "uuid-1", 2, 9, "h")
    assert (order.argv, order.env, order.cwd, order.gpus) == (("python", "train.py"), {"A": "1"}, "/data", ("GPU-1",))
    assert (order.reports, order.can_save, order.containment, order.log_bytes) == (True, True, "sweep", 1000)
    assert order.limits.stall_seconds == 5.0
    assert order.secrets_file == str(tmp_path / "jobs" / "job-1" / "secrets.json")
    plain = make_order(job(), tried, launch, settings, Identity(home_id="h", owner="server", epoch=9))
    assert plain.secrets_file is None


def test_a_recipe_is_asked_with_the_places_of_the_job_and_of_the_attempt(tmp_path):
    settings = Settings(home=tmp_path, runs=tmp_path / "runs")
    resumed = attempt(id="uuid-1", overrides={"resume_from": "/c"})
    request = launch_request(job(), resumed, settings)

    assert request.job_dir == str(tmp_path / "runs" / "jobs" / "job-1")
    assert request.run_dir == str(tmp_path / "attempts" / "uuid-1" / "run")
    assert (request.resume_from, launch_request(job(), attempt(), settings).resume_from) == ("/c", None)
