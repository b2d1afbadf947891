"""Is it stalled, what is the next step of a stop, when is the next try: decided by numbers alone."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stoker.domain.limits import LIMIT_NAMES, PHASE_SECONDS, UNKILLABLE_SECONDS, Limits
from stoker.domain.policy import (
    BACKOFF_CEILING_SECONDS,
    INFRASTRUCTURE_RETRIES,
    Signs,
    StopSigns,
    judge,
    next_stop_step,
    retry_after,
)
from stoker.domain.progress import TRUSTED, Phase, WatchedBy, better
from stoker.domain.stop import StopKind, StopStep, outranks

seconds = st.floats(0, 1e7)
spans = st.floats(0.001, 1e6)
limits = st.builds(
    Limits,
    stall_seconds=st.none() | spans,
    start_seconds=st.none() | spans,
    time_limit_seconds=st.none() | spans,
    checkpoint_seconds=st.floats(0, 1e5),
    grace_seconds=st.floats(0, 1e5),
    phase_seconds=st.dictionaries(st.sampled_from([phase.value for phase in Phase]), spans),
)


def signs(**facts):
    plain = {
        "now": 1000.0,
        "executed_at": 0.0,
        "reported": True,
        "phase": Phase.TRAINING,
        "progress_at": 1000.0,
        "watched_by": WatchedBy.CALLBACK,
    }
    return Signs(**(plain | facts))


def moved(now, ago, **facts):
    return signs(now=now, progress_at=now - ago, **facts)


@given(limits, seconds, st.sampled_from(Phase), st.sampled_from(WatchedBy), st.floats(0, 1))
def test_a_trainer_that_moved_within_its_limit_is_never_stalled(given_limits, now, phase, watch, part):
    ago = part * given_limits.silence_allowed(phase)
    assume(now - (now - ago) <= given_limits.silence_allowed(phase))
    verdict = judge(moved(now, ago, phase=phase, watched_by=watch), given_limits)

    assert verdict.stop is not StopKind.STALLED
    assert verdict.suspect is None


@given(limits, seconds, seconds, st.sampled_from(Phase), st.sampled_from(sorted(set(WatchedBy) - TRUSTED)))
def test_inferred_signals_never_stop_without_an_explicit_limit(given_limits, now, silent, phase, watch):
    assume(given_limits.stall_seconds is None)
    verdict = judge(moved(now, silent, phase=phase, watched_by=watch), given_limits)

    assert verdict.stop is not StopKind.STALLED


@given(limits, st.sampled_from(Phase), st.sampled_from(sorted(TRUSTED)))
def test_a_trusted_signal_that_is_silent_for_longer_than_its_limit_is_a_stall(given_limits, phase, watch):
    assume(given_limits.time_limit_seconds is None)
    allowed = given_limits.silence_allowed(phase)
    verdict = judge(signs(now=3 * allowed, progress_at=allowed, phase=phase, watched_by=watch), given_limits)

    assert (verdict.stop, verdict.limit) == (StopKind.STALLED, allowed)


@pytest.mark.parametrize("phase", Phase)
def test_each_phase_has_a_limit_of_its_own(phase):
    allowed = PHASE_SECONDS[phase]
    last = judge(signs(now=2 * allowed, progress_at=allowed, phase=phase), Limits())
    after = judge(signs(now=2 * allowed + 1, progress_at=allowed, phase=phase), Limits())

    assert (last.stop, after.stop) == (None, StopKind.STALLED)


def test_an_explicit_limit_caps_every_phase_and_the_servers_limits_come_before_the_defaults():
    ours = Limits(phase_seconds={"training": 5.0})

    assert ours.silence_allowed(Phase.TRAINING) == 5.0
    assert ours.silence_allowed(Phase.SAVING) == PHASE_SECONDS[Phase.SAVING]
    assert {Limits(stall_seconds=7.0).silence_allowed(phase) for phase in Phase} == {7.0}


def test_a_silent_inferred_signal_is_a_warning_that_says_what_was_watched():
    verdict = judge(moved(10_000.0, 700.0, watched_by=WatchedBy.LOG), Limits())

    assert verdict.stop is None
    assert verdict.suspect == "no sign of progress for more than 10 minutes (watched by log)"


def test_an_inferred_signal_stops_where_a_limit_was_set_by_hand():
    verdict = judge(moved(10_000.0, 31.0, watched_by=WatchedBy.EXIT), Limits(stall_seconds=30.0))

    assert (verdict.stop, verdict.limit) == (StopKind.STALLED, 30.0)


def test_the_time_limit_comes_before_a_stall_and_counts_from_the_exec():
    verdict = judge(signs(now=61.0, executed_at=0.0, progress_at=0.0), Limits(stall_seconds=1, time_limit_seconds=60))

    assert verdict.stop is StopKind.TIMED_OUT
    assert judge(signs(now=61.0, executed_at=1.5, progress_at=61.0), Limits(time_limit_seconds=60)).stop is None


def test_a_trainer_that_never_reports_is_stopped_by_its_start_limit_alone():
    silent = signs(now=31.0, reported=False, progress_at=31.0)

    assert judge(silent, Limits(start_seconds=30)).stop is StopKind.START_TIMEOUT
    assert judge(signs(now=31.0, progress_at=31.0), Limits(start_seconds=30)).stop is None
    assert judge(silent, Limits()).stop is None


def test_better_signals_come_first():
    order = list(WatchedBy)

    assert all(better(new, old) == (order.index(new) < order.index(old)) for new in order for old in order)


def test_limit_names_are_those_that_a_job_may_set():
    assert set(LIMIT_NAMES) == {
        "stall_seconds",
        "start_seconds",
        "time_limit_seconds",
        "checkpoint_seconds",
        "grace_seconds",
    }


# The ladder of a stop


def walk(kind, can_ask, limits, *, saving=(), hurry=0.25):
    """Let a stop run against a trainer that ignores everything; give each step with its time."""
    taken, times, saving = [], {}, sorted(saving)
    now = 0.0
    while True:
        saved = [at for at in saving if at <= now]
        step = next_stop_step(
            StopSigns(
                now=now,
                kind=kind,
                can_ask=can_ask,
                asked_at=times.get(StopStep.ASK),
                saving_at=saved[-1] if saved else None,
                terminated_at=times.get(StopStep.TERMINATE),
                killed_at=times.get(StopStep.KILL),
            ),
            limits,
        )
        if step is not StopStep.WAIT:
            taken.append((step, now))
            times[step] = now
        if step is StopStep.GIVE_UP:
            return taken
        now += hurry if step is StopStep.WAIT else 0.0
        assert now < 1e5


ladders = st.builds(Limits, checkpoint_seconds=st.floats(0, 3000), grace_seconds=st.floats(0, 300))


@given(st.sampled_from(StopKind), st.booleans(), ladders, st.lists(st.floats(0, 4000), max_size=20))
def test_a_stop_only_climbs_and_every_step_has_its_bound(kind, can_ask, limits, saving):
    steps = walk(kind, can_ask, limits, saving=saving, hurry=2.0)
    at = dict(steps)
    order = [StopStep.ASK, StopStep.TERMINATE, StopStep.KILL, StopStep.GIVE_UP]

    assert [step for step, _ in steps] == order[0 if can_ask else 1 :]
    asked = at.get(StopStep.ASK, at[StopStep.TERMINATE])
    assert at[StopStep.TERMINATE] - asked <= max(1800.0, limits.checkpoint_seconds) + 2
    assert at[StopStep.KILL] - at[StopStep.TERMINATE] <= limits.grace_seconds + 2
    assert at[StopStep.GIVE_UP] - at[StopStep.KILL] <= UNKILLABLE_SECONDS + 2


def test_saving_that_advances_is_given_more_time_up_to_the_ceiling():
    limits = Limits(checkpoint_seconds=120.0)
    idle = dict(walk(StopKind.CANCELLED, True, limits))
    saving = dict(walk(StopKind.CANCELLED, True, limits, saving=[100.0, 200.0]))
    endless = dict(walk(StopKind.CANCELLED, True, limits, saving=range(0, 9000, 50)))

    assert (idle[StopStep.TERMINATE], saving[StopStep.TERMINATE]) == (120.0, 320.0)
    assert endless[StopStep.TERMINATE] == 1800.0


def test_saving_before_the_stop_was_asked_does_not_shorten_the_wait():
    signs = StopSigns(
        now=60.0,
        kind=StopKind.PAUSED,
        can_ask=True,
        asked_at=50.0,
        saving_at=1.0,
        terminated_at=None,
        killed_at=None,
    )

    assert next_stop_step(signs, Limits(checkpoint_seconds=20.0)) is StopStep.WAIT


@pytest.mark.parametrize("kind", [StopKind.STALLED, StopKind.START_TIMEOUT])
def test_a_trainer_that_hangs_is_asked_and_terminated_at_once(kind):
    steps = dict(walk(kind, True, Limits(grace_seconds=5.0), saving=[1.0, 100.0]))

    assert (steps[StopStep.ASK], steps[StopStep.TERMINATE], steps[StopStep.KILL]) == (0.0, 0.0, 5.0)


def test_without_a_grace_period_the_kill_follows_at_once():
    assert walk(StopKind.CANCELLED, False, Limits(grace_seconds=0.0)) == [
        (StopStep.TERMINATE, 0.0),
        (StopStep.KILL, 0.0),
        (StopStep.GIVE_UP, UNKILLABLE_SECONDS),
    ]


def test_only_a_cancel_replaces_an_earlier_stop_and_only_a_pause_or_shutdown_gives_way():
    replaced = {(new, old) for new in StopKind for old in StopKind if outranks(new, old)}

    assert replaced == {(StopKind.CANCELLED, StopKind.PAUSED), (StopKind.CANCELLED, StopKind.SHUTDOWN)}


# Retries


def test_three_attempts_may_be_lost_to_machines_and_no_more():
    waits = [retry_after(losses, 1.0) for losses in range(1, INFRASTRUCTURE_RETRIES + 3)]

    assert waits == [10.0, 20.0, 40.0, None, None]


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_a_wait_before_a_retry_is_bounded_and_spread_over_its_second_half(losses, jitter):
    wait = retry_after(losses, jitter)

    assert (wait is None) == (losses > INFRASTRUCTURE_RETRIES)
    if wait is not None:
        assert 5.0 <= wait <= BACKOFF_CEILING_SECONDS
