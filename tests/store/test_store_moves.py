"""Every move is in the table, guarded, and written down."""

from dataclasses import replace
from itertools import pairwise, product

import pytest
from given_store import attempt, ended, ending, in_state, new, now, paused, pending, queued, running, stop, versions

from stoker.domain.errors import IllegalMove, NotFound, Unavailable
from stoker.domain.events import EventKind, FeedKind
from stoker.domain.states import ACTIVE, MOVES, TERMINAL, JobState
from stoker.domain.stop import StopKind
from stoker.store import moves


@pytest.mark.parametrize(("source", "target"), list(product(JobState, JobState)))
def test_a_move_is_written_if_and_only_if_the_table_has_it(store, epoch, source, target):
    job = in_state(store, epoch, source)
    before = store.feed_bounds()

    def move():
        with store._write() as tx:
            return moves.change(tx, job, replace(job, state=target), moves.moved(job, target, 50.0))

    if (source, target) in MOVES:
        assert move() == now(store) == replace(job, state=target, version=job.version + 1)
        event = store.events("job")[-1]
        assert (event.kind, event.source, event.target, event.at) == (EventKind.MOVED, source, target, 50.0)
        assert store.feed_bounds()[1] == before[1] + 1
    else:
        with pytest.raises(IllegalMove):
            move()
        assert now(store) == job
        assert versions(store)[-1] == job.version
        assert store.feed_bounds() == before


@pytest.mark.parametrize("stale", [{"state": JobState.PENDING}, {"attempt": 0}, {"epoch": 0}, {"version": 0}])
def test_a_write_that_expects_another_world_changes_nothing(store, epoch, stale):
    job = running(store, epoch)
    expected = replace(job, **stale)
    with store._write() as tx:
        changed = moves.change(tx, expected, replace(expected, priority=9), moves.noted(job, EventKind.MOVED, 5.0))

    assert changed is None
    assert now(store) == job
    assert versions(store)[-1] == job.version


def test_a_change_that_could_not_be_made_asks_for_another_try():
    with pytest.raises(Unavailable):
        moves._sure(None)


@pytest.mark.parametrize(("source", "target"), list(product(JobState, JobState)))
def test_an_attempt_ends_only_in_states_that_the_table_allows(store, epoch, source, target):
    job = in_state(store, epoch, source)
    conclude = lambda: store.conclude("job", job.attempt, epoch, ending(target, ran=False))  # noqa: E731

    if source not in ACTIVE:
        assert conclude() is None
    elif (source, target) in MOVES and target not in ACTIVE:
        assert conclude() == now(store)
        assert now(store).state is target
        return
    else:
        with pytest.raises(IllegalMove):
            conclude()
    assert now(store) == job


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.PAUSED])
def test_a_cancel_of_what_does_not_run_ends_it_at_once(store, epoch, state):
    job = in_state(store, epoch, state)
    stopped = store.request_stop("job", stop(at=12.0))

    assert stopped.previous is state
    assert stopped.job == now(store)
    assert (stopped.job.state, stopped.job.completed_at) == (JobState.CANCELLED, 12.0)
    assert stopped.job.stop == stop(at=12.0)
    assert stopped.job.version == job.version + 1


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.PAUSED])
@pytest.mark.parametrize("kind", sorted(set(StopKind) - {StopKind.CANCELLED}))
def test_what_does_not_run_can_only_be_cancelled(store, epoch, state, kind):
    job = in_state(store, epoch, state)

    with pytest.raises(IllegalMove):
        store.request_stop("job", stop(kind))
    assert now(store) == job


@pytest.mark.parametrize("state", sorted(ACTIVE))
@pytest.mark.parametrize("kind", StopKind)
def test_a_stop_of_an_active_job_is_recorded_and_leaves_its_state(store, epoch, state, kind):
    in_state(store, epoch, state)
    stopped = store.request_stop("job", stop(kind))

    assert stopped.previous is state
    assert stopped.job == now(store)
    assert (stopped.job.state, stopped.job.stop) == (state, stop(kind))
    event, row = store.events("job")[-1], store.feed(0)[-1]
    assert (event.kind, event.data["stop"], event.data["who"]) == (EventKind.STOP_REQUESTED, kind, "ada")
    assert (row.kind, row.data["stop"], row.data["state"]) == (FeedKind.STATE, kind, state)


def test_a_repeated_stop_changes_nothing(store, epoch):
    running(store, epoch)
    first = store.request_stop("job", stop(at=5.0))
    second = store.request_stop("job", stop(at=6.0))

    assert second == first


def test_a_cancel_replaces_a_pause(store, epoch):
    running(store, epoch)
    store.request_stop("job", stop(StopKind.PAUSED))
    stopped = store.request_stop("job", stop(StopKind.CANCELLED, at=6.0))

    assert stopped.job.stop == stop(StopKind.CANCELLED, at=6.0)


def test_a_pause_does_not_replace_a_cancel(store, epoch):
    running(store, epoch)
    store.request_stop("job", stop(StopKind.CANCELLED))
    stopped = store.request_stop("job", stop(StopKind.PAUSED, at=6.0))

    assert stopped.job.stop == stop(StopKind.CANCELLED)


@pytest.mark.parametrize("state", sorted(TERMINAL))
@pytest.mark.parametrize("kind", StopKind)
def test_a_terminal_job_is_not_stopped(store, epoch, state, kind):
    job = in_state(store, epoch, state)

    with pytest.raises(IllegalMove):
        store.request_stop("job", stop(kind))
    assert now(store) == job


def test_a_resume_queues_a_paused_job_from_its_checkpoint(store, epoch):
    job = paused(store, epoch)
    store.move_to_head(queued(store, "other").id, 4.0)
    resumed = store.resume("job", "/runs/checkpoint-7", 30.0)

    assert resumed == now(store)
    assert (resumed.state, resumed.resume_from, resumed.queued_at) == (JobState.QUEUED, "/runs/checkpoint-7", 30.0)
    assert (resumed.paused_at, resumed.exit_code) == (None, None)
    assert (resumed.attempt, resumed.version) == (1, job.version + 1)


def test_a_resume_without_a_checkpoint_starts_from_none_whatever_the_pause_left(store, epoch):
    running(store, epoch)
    ended(store, epoch, state=JobState.PAUSED, resume_from="/runs/checkpoint-3")

    assert store.resume("job", None, 30.0).resume_from is None
    assert now(store).resume_from is None


@pytest.mark.parametrize("state", sorted(set(JobState) - {JobState.PAUSED}))
def test_only_a_paused_job_is_resumed(store, epoch, state):
    job = in_state(store, epoch, state)

    with pytest.raises(IllegalMove):
        store.resume("job", None, 30.0)
    assert now(store) == job


def test_a_job_moved_to_the_head_comes_first_and_waits_no_longer(store, epoch):
    pending(store, epoch, "slow")
    ended(store, epoch, "slow", state=JobState.QUEUED, lost=True, not_before=500.0)
    queued(store, "urgent", priority=100)
    moved = store.move_to_head("slow", 40.0)

    assert (moved.not_before, moved.updated_at) == (None, 40.0)
    assert [job.id for job in store.queue(9)] == ["slow", "urgent"]
    assert store.events("slow")[-1].kind is EventKind.MOVED_TO_HEAD
    assert store.feed(0)[-1].data["event"] == "moved_to_head"


@pytest.mark.parametrize("state", sorted(set(JobState) - {JobState.QUEUED}))
def test_only_a_queued_job_is_moved_to_the_head(store, epoch, state):
    job = in_state(store, epoch, state)

    with pytest.raises(IllegalMove):
        store.move_to_head("job", 40.0)
    assert now(store) == job


@pytest.mark.parametrize("state", sorted(set(JobState) - TERMINAL))
def test_the_priority_of_a_job_that_is_not_terminal_can_change(store, epoch, state):
    job = in_state(store, epoch, state)
    changed = store.set_priority("job", 7, 40.0)

    assert changed == now(store) == replace(job, priority=7, updated_at=40.0, version=job.version + 1)
    event = store.events("job")[-1]
    assert (event.kind, event.data) == (EventKind.PRIORITY_CHANGED, {"priority": 7, "previous": 0})


def test_the_same_priority_again_is_no_event(store):
    job = queued(store, priority=7)

    assert store.set_priority("job", 7, 40.0) == job
    assert versions(store) == [1]


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_the_priority_of_a_terminal_job_stays(store, epoch, state):
    job = in_state(store, epoch, state)

    with pytest.raises(IllegalMove):
        store.set_priority("job", 7, 40.0)
    assert now(store) == job


@pytest.mark.parametrize(
    "verb",
    [
        lambda store: store.request_stop("nothing", stop()),
        lambda store: store.resume("nothing", None, 1.0),
        lambda store: store.move_to_head("nothing", 1.0),
        lambda store: store.set_priority("nothing", 1, 1.0),
    ],
)
def test_a_verb_on_a_job_that_is_not_there_says_so(store, verb):
    with pytest.raises(NotFound, match="nothing"):
        verb(store)


def test_versions_grow_by_one_through_a_whole_life_and_match_the_job(store, epoch):
    store.submit(new())
    store.move_to_head("job", 2.0)
    store.set_priority("job", 4, 2.0)
    store.open_attempt(attempt(), epoch)
    store.mark_running("job", 1, epoch, 3.0)
    store.request_stop("job", stop(StopKind.PAUSED))
    ended(store, epoch, state=JobState.PAUSED)
    store.resume("job", None, 10.0)
    store.open_attempt(attempt(number=2), epoch)
    ended(store, epoch, number=2, ran=False, state=JobState.FAILED)

    found = versions(store)
    assert found == list(range(1, now(store).version + 1))
    moves_made = [(e.source, e.target) for e in store.events("job") if e.kind is EventKind.MOVED]
    assert all(move in MOVES for move in moves_made)
    assert all(before[1] is after[0] for before, after in pairwise(moves_made))
