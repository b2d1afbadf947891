"""From the end of an attempt to what its job becomes."""

import pytest

from stoker.domain.failure import Reason
from stoker.domain.spec import JobSpec
from stoker.domain.states import JobState
from stoker.domain.stop import StopKind
from stoker.rundir.layout import JobDir
from stoker.rundir.records import ExitRecord, Survivor
from stoker.scheduler.ending import (
    MAX_ERROR_CHARACTERS,
    ending_of,
    launch_failed,
    loss_of,
    missing_artifacts,
    never_started,
)
from tests.unit.given_unit import NOW, attempt, job, stop

SURVIVOR = Survivor(pid=7, start=99, name="python", state="D")


@pytest.fixture
def folder(tmp_path):
    return JobDir(str(tmp_path))


def record(**facts):
    return ExitRecord(**({"nonce": "n", "at": NOW, "executed": True} | facts))


def test_an_exit_record_becomes_the_end_of_the_job(folder):
    ending = ending_of(job(), attempt(), record(exit_code=3, phase="training", log_bytes=9, milliseconds=4.5), folder)

    assert (ending.state, ending.reason, ending.exit_code) == (JobState.FAILED, Reason.EXITED, 3)
    assert (ending.at, ending.ran, ending.unclean, ending.lost) == (NOW, True, False, False)
    assert ending.receipt["state"] == "no_gpu"
    assert ending.details["reap_milliseconds"] == 4.5


def test_survivors_are_named_and_make_the_end_unclean(folder):
    ending = ending_of(job(), attempt(), record(signal=9, survivors=(SURVIVOR,)), folder)

    assert ending.unclean
    assert ending.details["survivors"] == ["pid 7 (python, state D)"]


def test_words_of_a_newer_writer_are_passed_over(folder):
    said = {"outcome": "transcended", "reason": ["x"], "error": None, "step": "7"}
    ending = ending_of(job(), attempt(), record(exit_code=0, stop="unheard of", stop_sent=True, outcome=said), folder)

    assert ending.state is JobState.COMPLETED


def test_a_trainers_own_sentence_is_told_in_writable_words(folder):
    said = {"outcome": "failed", "reason": "bad_data", "error": "no file caf\udce9 \0" + "x" * 10_000}
    ending = ending_of(job(), attempt(), record(exit_code=1, outcome=said), folder)

    assert ending.reason is Reason.BAD_DATA
    assert ending.error.startswith("no file caf? ?x")
    assert len(ending.error) == MAX_ERROR_CHARACTERS
    assert ending.error.encode()


@pytest.mark.parametrize(
    ("reached", "saved", "lost"),
    [(12, 10, None), (None, 10, None), (12, None, None), (12, True, None), ("12", 10, None)],
)
def test_lost_steps_are_not_claimed_without_a_checkpoint(folder, reached, saved, lost):
    ended = record(exit_code=0, stop="paused", stop_sent=True, outcome={"outcome": "stopped", "step": saved})
    ending = ending_of(job(), attempt(progress={"current_step": reached}), ended, folder)

    assert ending.state is JobState.PAUSED
    assert ending.details["steps_lost"] is lost


# Artifacts


def with_artifacts(folder, *patterns, **facts):
    spec = JobSpec(artifacts=patterns, **facts)
    missing = missing_artifacts(spec.cwd, patterns, lambda: False)
    return ending_of(job(spec=spec), attempt(), record(exit_code=0), folder, missing)


def test_declared_artifacts_must_be_there(folder, tmp_path):
    work = tmp_path / "wo[r]k"
    (work / "deep" / "er").mkdir(parents=True)
    (work / "deep" / "er" / "model.bin").touch()

    assert with_artifacts(folder, "deep/*/*.bin", "**/model.bin", cwd=str(work)).state is JobState.COMPLETED
    missing = with_artifacts(folder, "deep", "*.bin", "x.txt", cwd=str(work))
    assert missing.reason is Reason.EXITED
    assert missing.error == "The training process exited with code 0 but left nothing that matches *.bin, x.txt"


def test_a_look_for_artifacts_that_is_late_or_led_in_circles_ends(tmp_path):
    (tmp_path / "here").symlink_to(tmp_path)
    (tmp_path / "there").symlink_to(tmp_path)

    assert missing_artifacts(str(tmp_path), ["**/x", "here"], lambda: False) == ["**/x"]
    assert missing_artifacts(str(tmp_path), ["here"], lambda: True) == ["here"]
    assert missing_artifacts(str(tmp_path / "gone"), ["x", "[", ""], lambda: False) == ["x", "[", ""]


def test_a_job_that_failed_is_not_blamed_for_missing_artifacts(folder):
    spec = JobSpec(artifacts=("x",))

    assert "code 2" in ending_of(job(spec=spec), attempt(), record(exit_code=2), folder, ["x"]).error


# Losses


@pytest.mark.parametrize(("lost", "wait"), [(0, 10.0), (1, 20.0), (2, 40.0)])
def test_a_lost_attempt_is_tried_again_after_a_wait(folder, lost, wait):
    ending = loss_of(job(lost_attempts=lost), (), folder, NOW, 1.0)

    assert (ending.state, ending.not_before, ending.lost) == (JobState.QUEUED, NOW + wait, True)


def test_a_job_that_lost_its_last_attempt_fails_as_lost(folder):
    ending = loss_of(job(lost_attempts=3, attempt=4), (), folder, NOW, 0.5)

    assert (ending.state, ending.reason) == (JobState.FAILED, Reason.LOST)
    assert ending.error.startswith("Attempt 4 was lost")


def test_a_lost_attempt_that_left_survivors_is_not_tried_again(folder):
    ending = loss_of(job(), (SURVIVOR,), folder, NOW, 0.5)

    assert (ending.state, ending.reason, ending.unclean) == (JobState.FAILED, Reason.LOST, True)
    assert "pid 7 (python, state D)" in ending.error


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (StopKind.CANCELLED, JobState.CANCELLED),
        (StopKind.PAUSED, JobState.PAUSED),
        (StopKind.SHUTDOWN, JobState.QUEUED),
    ],
)
def test_a_loss_while_a_stop_was_asked_ends_as_asked(folder, kind, state):
    assert loss_of(job(stop=stop(kind)), (), folder, NOW, 0.5).state is state
    assert never_started(job(stop=stop(kind)), NOW, 0.0).state is state


@pytest.mark.parametrize(("state", "ran"), [(JobState.PENDING, False), (JobState.RUNNING, True)])
def test_a_loss_remembers_whether_the_trainer_had_begun(folder, state, ran):
    assert loss_of(job(state=state), (), folder, NOW, 0.5).ran is ran


def test_an_attempt_that_never_started_is_given_back_free_of_charge():
    at_once = never_started(job(resume_from="/c"), NOW, 0.0)
    later = never_started(job(), NOW, 5.0)

    assert (at_once.state, at_once.not_before, at_once.lost) == (JobState.QUEUED, None, False)
    assert (at_once.resume_from, later.not_before) == ("/c", NOW + 5.0)


def test_what_can_never_be_launched_fails_at_once():
    ending = launch_failed("x" * 10_000, NOW)

    assert (ending.state, ending.reason, ending.ran) == (JobState.FAILED, Reason.LAUNCH_FAILED, False)
    assert len(ending.error) == MAX_ERROR_CHARACTERS
