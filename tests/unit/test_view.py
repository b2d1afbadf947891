"""How a job looks from outside."""

import pytest

from stoker.domain.failure import Reason
from stoker.domain.spec import JobSpec
from stoker.domain.states import ACTIVE, JobState
from stoker.domain.stop import StopKind
from stoker.rundir.journal import boottime
from stoker.service.view import ORIGINAL_PROGRESS, SUMMARY_PROGRESS, full, iso, summary
from tests.unit.given_unit import NOW, attempt, job, stop

LIVE = {
    "phase": "training",
    "watched_by": "callback",
    "suspect": "silent",
    "process_pid": 7,
    "supervisor_pid": 6,
    "stop_step": "ask",
}


def test_times_are_rfc_3339_in_utc():
    assert iso(0.0) == "1970-01-01T00:00:00Z"
    assert iso(1700000000.25) == "2023-11-14T22:13:20.250000Z"
    assert iso(None) is None


def test_both_words_for_an_error_carry_it():
    failed = full(job(state=JobState.FAILED, reason=Reason.EXITED, error="why", exit_code=3), attempt(), None)

    assert (failed["error"], failed["error_message"], failed["reason"]) == ("why", "why", "exited")
    assert (failed["exit_code"], failed["signal"]) == (3, None)


def test_a_job_before_its_first_attempt_has_every_field():
    fresh = full(job(state=JobState.QUEUED, attempt=0), None, None)

    assert fresh["status"] == "queued"
    assert {name: fresh[name] for name in ORIGINAL_PROGRESS} == dict.fromkeys(ORIGINAL_PROGRESS)
    assert set(SUMMARY_PROGRESS) <= set(fresh)
    assert set(summary(job(), None)) <= set(fresh)


def test_a_live_job_shows_what_its_supervisor_sees_now():
    seen = {"phase": "saving", "heartbeat_at": boottime() - 5, "progress_at": boottime() + 100}
    shown = full(job(), attempt(live=LIVE), seen)

    assert (shown["phase"], shown["watched_by"], shown["process_pid"], shown["supervisor_pid"]) == (
        "saving",
        "callback",
        7,
        6,
    )
    assert shown["heartbeat_age_seconds"] == pytest.approx(5, abs=1)
    assert shown["progress_age_seconds"] == 0.0
    assert shown["suspect"] == "silent"


@pytest.mark.parametrize("state", sorted(set(JobState) - ACTIVE))
def test_what_does_not_run_shows_no_signs_of_life(state):
    shown = full(job(state=state), attempt(live=LIVE), {"heartbeat_at": 1.0, "progress_at": 1.0})

    for name in ("phase", "suspect", "heartbeat_age_seconds", "progress_age_seconds", "supervisor_pid", "process_pid"):
        assert shown[name] is None


@pytest.mark.parametrize("at", [None, "soon", [], {}])
def test_an_age_of_nothing_is_none(at):
    assert full(job(), attempt(), {"heartbeat_at": at})["heartbeat_age_seconds"] is None


def test_a_stop_request_is_a_field_and_not_a_state():
    stopping = full(job(stop=stop(StopKind.CANCELLED)), attempt(), None)

    assert (stopping["status"], stopping["stop_request"]) == ("running", "cancelled")


def test_the_model_is_named_where_the_config_names_one():
    assert full(job(spec=JobSpec(config={"model": {"name": "tiny"}})), None, None)["model_name"] == "tiny"
    assert full(job(spec=JobSpec(config={"model": "tiny"})), None, None)["model_name"] is None


def test_a_paused_job_tells_where_it_stopped_and_what_it_lost():
    ended = attempt(end={"details": {"steps_lost": 2}}, ended_at=NOW)

    assert full(job(state=JobState.PAUSED), ended, None)["stopped_at"] == {"steps_lost": 2}
    assert full(job(state=JobState.RUNNING), ended, None)["stopped_at"] is None
