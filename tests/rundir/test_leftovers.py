"""What a killed server left is cleared away, and nothing that may be somebody's work."""

import dataclasses
import os
import shutil
import time

import pytest

from stoker.domain.job import Job
from stoker.domain.spec import JobSpec
from stoker.domain.states import JobState
from stoker.rundir.layout import JobDir
from stoker.rundir.leftovers import FORGOTTEN_SECONDS, tidy
from stoker.rundir.secrets import keep_secrets

LATER = 2 * FORGOTTEN_SECONDS


def job(job_id, state=JobState.RUNNING):
    return Job(id=job_id, owner="ada", spec=JobSpec(), state=state, created_at=0, updated_at=0, sequence=1)


@dataclasses.dataclass
class Home:
    """A jobs root and an attempts root, with what the store knows."""

    jobs: str
    attempts: str
    known: dict = dataclasses.field(default_factory=dict)

    def make(self, job_id, *, work=False):
        folder = JobDir(os.path.join(self.jobs, job_id))
        for path in (folder.inputs, folder.checkpoints, folder.outputs):
            os.makedirs(path)
        if work:
            os.mkdir(os.path.join(folder.checkpoints, "checkpoint-1"))
        keep_secrets(folder, {"TOKEN": "hidden"})
        return folder

    def tidy(self, later=LATER):
        return tidy((self.jobs, self.attempts), self.known.get, lambda *_: False, time.time() + later)


@pytest.fixture
def home(tmp_path):
    for name in ("jobs", "attempts"):
        (tmp_path / name).mkdir()
    return Home(str(tmp_path / "jobs"), str(tmp_path / "attempts"))


@pytest.mark.parametrize("state", sorted(JobState))
def test_secrets_go_with_the_end_of_their_job_and_not_before(home, state):
    folder = home.make("one")
    home.known["one"] = job("one", state)
    home.tidy()

    assert os.path.exists(folder.secrets) is not home.known["one"].is_terminal
    assert os.path.isdir(folder.inputs)


def test_secrets_of_no_job_go_at_once_but_never_those_of_a_submit_that_is_under_way(home):
    folder = home.make("one")

    assert home.tidy(later=-5).secrets == ()
    assert home.tidy(later=5).secrets == (folder.secrets,)
    assert os.path.isdir(folder.inputs)


def test_a_folder_without_a_job_goes_after_an_hour(home):
    folder = home.make("one")

    assert home.tidy(later=FORGOTTEN_SECONDS - 60).jobs == ()
    assert home.tidy().jobs == (folder.root,)
    assert os.listdir(home.jobs) == []


def test_work_without_a_job_is_reported_and_kept(home):
    folder = home.make("one", work=True)
    (elsewhere := os.path.join(home.jobs, "notes")) and os.makedirs(os.path.join(elsewhere, "mine"))
    os.symlink(folder.root, os.path.join(home.jobs, "link"))
    report = home.tidy()

    assert report.orphan_jobs == (elsewhere, folder.root)
    assert report.jobs == ()
    assert sorted(os.listdir(home.jobs)) == ["link", "notes", "one"]


def test_an_unfinished_attempt_goes_and_an_unknown_one_is_reported(home):
    for name in (".new-1", "2"):
        os.makedirs(os.path.join(home.attempts, name, "run"))
    report = home.tidy()

    assert report.attempts == (os.path.join(home.attempts, ".new-1"),)
    assert report.orphan_attempts == (os.path.join(home.attempts, "2"),)
    assert os.listdir(home.attempts) == ["2"]


def test_a_tidying_that_is_killed_at_any_point_is_finished_by_the_next(home, monkeypatch):
    class Killed(BaseException):
        pass

    kept = home.make("works")
    home.known["works"] = job("works")
    for calls in range(60):
        for name in ("half", ".deleted-gone"):
            shutil.rmtree(os.path.join(home.jobs, name), ignore_errors=True)
            home.make(name)
        left = [calls]

        def spend(real, left=left):
            def call(*args, **kwargs):
                left[0] -= 1
                if left[0] < 0:
                    raise Killed
                return real(*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            for name in ("unlink", "rmdir", "lstat", "listdir"):
                patch.setattr(os, name, spend(getattr(os, name)))
            try:
                home.tidy()
                finished = True
            except Killed:
                finished = False
        home.tidy()

        assert os.listdir(home.jobs) == ["works"]
        assert os.path.exists(kept.secrets)
        if finished:
            return
    pytest.fail("it never came to its end")
