"""What an attempt's end makes of its job: a table, and the rules that hold for every end."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.domain.failure import Reason
from stoker.domain.outcome import STOPPED_FROM_OUTSIDE, End, TrainerOutcome, conclude
from stoker.domain.states import MOVES, TERMINAL, JobState
from stoker.domain.stop import StopKind

AS_ASKED = {
    StopKind.CANCELLED: (JobState.CANCELLED, None),
    StopKind.PAUSED: (JobState.PAUSED, None),
    StopKind.SHUTDOWN: (JobState.QUEUED, None),
    StopKind.STALLED: (JobState.FAILED, Reason.STALLED),
    StopKind.TIMED_OUT: (JobState.FAILED, Reason.TIMED_OUT),
    StopKind.START_TIMEOUT: (JobState.FAILED, Reason.START_TIMEOUT),
}

WAYS_TO_END = [(0, None), (1, None), (75, None), (143, None), (None, 9), (None, 15), (None, 11)]


def by_itself(exit_code, signal, outcome):
    """Say what an end is that no stop of ours had any part in."""
    if outcome is TrainerOutcome.STOPPED:
        return JobState.FAILED, Reason.EXITED
    if exit_code == 0 and outcome is not TrainerOutcome.FAILED:
        return JobState.COMPLETED, None
    return JobState.FAILED, Reason.SIGNALLED if signal else Reason.EXITED


def expected(exit_code, signal, stop, sent, outcome):
    """Say the law of the ends once more, in the order in which a person would ask."""
    if exit_code == 0 and outcome is TrainerOutcome.COMPLETED:
        return JobState.COMPLETED, None
    if stop is not None and (sent or outcome is TrainerOutcome.STOPPED):
        return AS_ASKED[stop]
    return by_itself(exit_code, signal, outcome)


@pytest.mark.parametrize("outcome", [None, *TrainerOutcome])
@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("stop", [None, *StopKind])
def test_the_outcome_follows_the_table_for_every_way_to_end(stop, sent, outcome):
    for exit_code, signal in WAYS_TO_END:
        end = End(exit_code=exit_code, signal=signal, stop=stop, stop_sent=sent, trainer_outcome=outcome)
        concluded = conclude(end)

        assert (concluded.state, concluded.reason) == expected(exit_code, signal, stop, sent, outcome), end


ends = st.builds(
    End,
    exit_code=st.none() | st.integers(0, 255),
    signal=st.none() | st.integers(1, 64),
    stop=st.none() | st.sampled_from(StopKind),
    stop_sent=st.booleans(),
    stop_limit=st.floats(0, 1e6),
    launch_error=st.none() | st.text(min_size=1),
    out_of_memory=st.booleans(),
    trainer_outcome=st.none() | st.sampled_from(TrainerOutcome),
    trainer_reason=st.none() | st.sampled_from(Reason),
    trainer_error=st.none() | st.text(min_size=1),
)


@given(ends)
def test_every_end_leads_to_a_state_that_a_running_job_may_move_to(end):
    assert (JobState.RUNNING, conclude(end).state) in MOVES


@given(ends)
def test_a_failure_has_a_reason_and_a_sentence_and_nothing_else_has(end):
    concluded = conclude(end)

    assert (concluded.state is JobState.FAILED) == (concluded.reason is not None) == bool(concluded.error)


@given(ends, st.none() | st.sampled_from(StopKind))
def test_a_stop_that_was_not_sent_never_turns_a_natural_end_around(end, other):
    exit_code = end.exit_code if end.exit_code is not None else 0
    outcome = None if end.trainer_outcome is TrainerOutcome.STOPPED else end.trainer_outcome

    def ended(stop):
        return conclude(End(exit_code=exit_code, stop=stop, stop_sent=False, trainer_outcome=outcome))

    assert ended(other) == ended(None)


@given(ends)
def test_completed_work_stays_completed_whatever_was_asked(end):
    done = End(exit_code=0, stop=end.stop, stop_sent=end.stop_sent, trainer_outcome=TrainerOutcome.COMPLETED)

    assert conclude(done).state is JobState.COMPLETED


@given(ends)
def test_no_end_is_completed_without_an_exit_of_zero(end):
    if conclude(end).state is JobState.COMPLETED:
        assert end.exit_code == 0


def test_an_attempt_that_was_never_executed_ends_as_its_user_asked():
    assert conclude(End(stop=StopKind.CANCELLED)).state is JobState.CANCELLED
    assert conclude(End(stop=StopKind.PAUSED)).state is JobState.PAUSED
    assert conclude(End()).reason is Reason.LOST


def test_what_could_not_be_executed_says_why():
    concluded = conclude(End(launch_error="The program x was not found on the job's PATH", stop=StopKind.PAUSED))

    assert (concluded.reason, concluded.error) == (
        Reason.LAUNCH_FAILED,
        "The program x was not found on the job's PATH",
    )


@pytest.mark.parametrize(
    ("end", "reason", "sentence"),
    [
        (End(exit_code=3), Reason.EXITED, "The training process exited with code 3"),
        (
            End(signal=9),
            Reason.SIGNALLED,
            "The training process was killed by SIGKILL (signal 9), which Stoker did not send",
        ),
        (
            End(signal=42),
            Reason.SIGNALLED,
            "The training process was killed by signal 42 (signal 42), which Stoker did not send",
        ),
        (
            End(signal=9, out_of_memory=True),
            Reason.OUT_OF_MEMORY,
            "The kernel killed the training process: the host ran out of memory",
        ),
        (
            End(
                exit_code=1,
                trainer_outcome=TrainerOutcome.FAILED,
                trainer_reason=Reason.NAN,
                trainer_error="The loss is not a number since step 7",
            ),
            Reason.NAN,
            "The loss is not a number since step 7",
        ),
        (
            End(exit_code=0, trainer_outcome=TrainerOutcome.FAILED),
            Reason.EXITED,
            "The training process exited with code 0",
        ),
        (End(exit_code=0, trainer_outcome=TrainerOutcome.STOPPED), Reason.EXITED, STOPPED_FROM_OUTSIDE),
        (
            End(signal=9, stop=StopKind.STALLED, stop_sent=True, stop_limit=600.0),
            Reason.STALLED,
            "Training timed out - no progress for 10 minutes",
        ),
        (
            End(signal=15, stop=StopKind.TIMED_OUT, stop_sent=True, stop_limit=90.0),
            Reason.TIMED_OUT,
            "Training stopped - it reached its time limit of 1.5 minutes",
        ),
        (
            End(signal=15, stop=StopKind.START_TIMEOUT, stop_sent=True, stop_limit=1.0),
            Reason.START_TIMEOUT,
            "Training did not start - no report within 1 second",
        ),
    ],
)
def test_a_failure_is_said_in_one_sentence(end, reason, sentence):
    concluded = conclude(end)

    assert (concluded.reason, concluded.error) == (reason, sentence)


def test_a_child_that_the_kernel_killed_for_memory_does_not_spoil_a_clean_exit():
    assert conclude(End(exit_code=0, out_of_memory=True)).state is JobState.COMPLETED


def test_terminal_reasons_are_kept_for_failures_alone():
    for stop, sent in product(StopKind, (False, True)):
        concluded = conclude(End(signal=9, stop=stop, stop_sent=sent))

        assert (concluded.reason is None) == (concluded.state is not JobState.FAILED)
        assert concluded.state in TERMINAL | {JobState.PAUSED, JobState.QUEUED}
