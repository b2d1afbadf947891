"""The table of moves, walked for every pair."""

from itertools import product

import pytest

from stoker.domain.states import ACTIVE, MOVES, TERMINAL, JobState, may_move
from tests.unit.given_unit import attempt, job

LEGAL = {
    "queued": {"pending", "cancelled"},
    "pending": {"running", "paused", "failed", "cancelled", "queued"},
    "running": {"completed", "paused", "failed", "cancelled", "queued"},
    "paused": {"queued", "cancelled"},
    "completed": set(),
    "failed": set(),
    "cancelled": set(),
}
"""The moves as people say them, written down once more so that the table can't change unseen."""


@pytest.mark.parametrize(("source", "target"), list(product(JobState, JobState)))
def test_exactly_the_moves_of_the_table_are_legal(source, target):
    assert may_move(source, target) == (target.value in LEGAL[source.value])


def test_terminal_states_never_change():
    assert not [move for move in MOVES if move[0] in TERMINAL]


def test_no_state_moves_to_itself():
    assert not [move for move in MOVES if move[0] is move[1]]


def test_every_state_can_be_reached_from_the_queue():
    reached = {JobState.QUEUED}
    for _ in JobState:
        reached |= {target for source, target in MOVES if source in reached}

    assert reached == set(JobState)


def test_every_state_that_is_not_terminal_can_be_cancelled():
    assert {source for source, target in MOVES if target is JobState.CANCELLED} == set(JobState) - TERMINAL


def test_a_slot_is_taken_only_where_something_may_run():
    assert {JobState.PENDING, JobState.RUNNING} == ACTIVE


@pytest.mark.parametrize("state", JobState)
def test_a_job_knows_whether_it_is_over(state):
    assert job(state=state).is_terminal == (state.value in ("completed", "failed", "cancelled"))


def test_an_attempt_is_open_until_it_ended():
    assert attempt().is_open
    assert not attempt(ended_at=1.0).is_open


def test_a_job_completes_only_from_running():
    assert [source for source, target in MOVES if target is JobState.COMPLETED] == [JobState.RUNNING]
