"""What the scheduler does: attempts are opened, adopted, run and ended once, and only in their own term."""

from dataclasses import replace
from itertools import pairwise

import pytest
from given_store import (
    attempt,
    ended,
    ending,
    intake,
    new,
    now,
    paused,
    pending,
    queued,
    rows,
    running,
    stop,
    terminal,
    versions,
)

from stoker.domain.errors import EpochLost, IllegalMove
from stoker.domain.events import EventKind
from stoker.domain.failure import Reason
from stoker.domain.states import TERMINAL, JobState
from stoker.domain.stop import StopKind
from stoker.store import moves


def kinds(store, job_id="job"):
    return [event.kind for event in store.events(job_id)]


def test_an_opened_attempt_takes_the_job_to_pending_and_reads_back(store, epoch):
    job = queued(store)
    given = attempt(
        gpus=("GPU-1",), overrides={"batch_size": 2}, lease_owner="here", lease_until=60.0, handle={"pid": 1}
    )
    opened = store.open_attempt(given, epoch)

    assert opened == now(store)
    assert (opened.state, opened.attempt, opened.epoch, opened.version) == (JobState.PENDING, 1, epoch, job.version + 2)
    assert store.attempts("job") == [replace(given, lease_epoch=epoch)]
    assert store.job_with_attempt("job") == (opened, replace(given, lease_epoch=epoch))
    assert kinds(store) == [EventKind.SUBMITTED, EventKind.ATTEMPT_OPENED, EventKind.MOVED]
    assert store.events("job")[1].data["attempt_id"] == "job/1"
    assert {event.attempt for event in store.events("job", after=1)} == {1}


def test_an_attempt_is_not_opened_in_an_earlier_term(store, epoch):
    job = queued(store)
    store.acquire_term("a later server")

    with pytest.raises(EpochLost):
        store.open_attempt(attempt(), epoch)
    assert now(store) == job
    assert store.attempts("job") == []


def test_an_attempt_is_opened_only_for_a_queued_job(store, epoch):
    job = pending(store, epoch)

    assert store.open_attempt(attempt(number=2), epoch) is None
    assert now(store) == job
    assert len(store.attempts("job")) == 1


def test_an_attempt_is_opened_only_with_the_next_number(store, epoch):
    job = queued(store)

    assert store.open_attempt(attempt(number=2), epoch) is None
    assert store.open_attempt(attempt(number=0), epoch) is None
    assert now(store) == job


def test_a_job_cancelled_meanwhile_gets_no_attempt(store, epoch):
    queued(store)
    store.request_stop("job", stop())

    assert store.open_attempt(attempt(), epoch) is None
    assert store.attempts("job") == []


def test_a_queued_job_with_a_stop_request_gets_no_attempt(store, epoch):
    job = queued(store)
    with store._write() as tx:
        moves.change(tx, job, replace(job, stop=stop()), moves.noted(job, EventKind.STOP_REQUESTED, 5.0))

    assert store.open_attempt(attempt(), epoch) is None
    assert store.attempts("job") == []


def test_terms_grow_and_an_epoch_is_given_once(store):
    assert [store.acquire_term("server") for _ in range(3)] == [1, 2, 3]


def test_a_handle_is_kept(store, epoch):
    pending(store, epoch)

    assert store.set_handle("job/1", {"pid": 7, "boot": "b"}, epoch)
    assert store.attempts("job")[0].handle == {"pid": 7, "boot": "b"}


def test_a_running_job_knows_since_when(store, epoch):
    pending(store, epoch)

    assert store.mark_running("job", 1, epoch, 3.0)
    assert (now(store).state, now(store).started_at) == (JobState.RUNNING, 3.0)
    assert store.attempts("job")[0].started_at == 3.0


def test_a_job_starts_running_once(store, epoch):
    job = running(store, epoch)

    assert not store.mark_running("job", 1, epoch, 8.0)
    assert now(store) == job


def test_the_start_of_a_job_is_that_of_its_first_attempt(store, epoch):
    paused(store, epoch)
    store.resume("job", None, 20.0)
    store.open_attempt(attempt(number=2), epoch)
    store.mark_running("job", 2, epoch, 30.0)

    assert now(store).started_at == 3.0
    assert [one.started_at for one in store.attempts("job")] == [3.0, 30.0]


def test_only_a_pending_job_starts_running(store, epoch):
    queued(store)

    assert not store.mark_running("job", 0, 0, 3.0)
    assert not store.mark_running("nothing", 1, epoch, 3.0)
    assert now(store).state is JobState.QUEUED


def test_an_ended_attempt_keeps_its_end_and_its_receipt(store, epoch):
    running(store, epoch)
    job = ended(
        store,
        epoch,
        state=JobState.FAILED,
        reason=Reason.STALLED,
        error="Training timed out",
        exit_code=None,
        signal=9,
        unclean=True,
        details={"stacks": 3},
        receipt={"gpus": []},
    )
    [one] = store.attempts("job")

    assert job == now(store)
    assert (job.state, job.reason, job.error, job.signal, job.unclean) == (
        JobState.FAILED, Reason.STALLED, "Training timed out", 9, True,
    )  # fmt: skip
    assert (job.completed_at, job.updated_at) == (9.0, 9.0)
    assert (one.ended_at, one.is_open, one.receipt) == (9.0, False, {"gpus": []})
    assert (one.end["reason"], one.end["state"], one.end["details"]) == ("stalled", "failed", {"stacks": 3})
    told, moved = store.events("job")[-2:]
    assert (told.kind, told.data["signal"]) == (EventKind.ATTEMPT_ENDED, 9)
    assert (moved.source, moved.target, moved.data["reason"]) == (JobState.RUNNING, JobState.FAILED, "stalled")
    assert store.feed(0)[-1].data["error"] == "Training timed out"


def test_a_pending_job_that_ran_passes_through_running(store, epoch):
    pending(store, epoch)
    job = ended(store, epoch, state=JobState.COMPLETED, exit_code=0)

    made = [(e.source, e.target) for e in store.events("job") if e.kind is EventKind.MOVED][1:]
    assert made == [(JobState.PENDING, JobState.RUNNING), (JobState.RUNNING, JobState.COMPLETED)]
    assert versions(store) == list(range(1, job.version + 1))
    assert (job.started_at, store.attempts("job")[0].started_at) == (2.0, 2.0)
    assert [row.data["state"] for row in store.feed(0)][-2:] == ["running", "completed"]


def test_a_job_that_never_ran_does_not_complete(store, epoch):
    job = pending(store, epoch)

    with pytest.raises(IllegalMove):
        store.conclude("job", 1, epoch, ending(JobState.COMPLETED, ran=False))
    assert now(store) == job
    assert store.attempts("job")[0].is_open


def test_an_attempt_ends_once(store, epoch):
    job = terminal(store, epoch)

    assert store.conclude("job", 1, epoch, ending(JobState.FAILED)) is None
    assert now(store) == job
    assert store.conclude("nothing", 1, epoch, ending()) is None


def test_a_lost_attempt_queues_the_job_again_and_is_counted(store, epoch):
    running(store, epoch)
    job = ended(store, epoch, state=JobState.QUEUED, lost=True, not_before=77.0, resume_from="/runs/checkpoint-2",
                reason=Reason.LOST, error="The supervisor died", signal=9)  # fmt: skip

    assert (job.state, job.lost_attempts, job.not_before, job.queued_at) == (JobState.QUEUED, 1, 77.0, 9.0)
    assert (job.resume_from, job.attempt, job.completed_at) == ("/runs/checkpoint-2", 1, None)
    assert (job.reason, job.error, job.signal) == (None, None, None)
    assert EventKind.ATTEMPT_LOST in kinds(store)
    assert store.attempts("job")[0].end["error"] == "The supervisor died"


def test_a_lost_job_starts_again_with_a_second_attempt(store, epoch):
    running(store, epoch)
    ended(store, epoch, state=JobState.QUEUED, lost=True, not_before=77.0)
    job = store.open_attempt(attempt(number=2), epoch)

    assert (job.attempt, job.not_before) == (2, None)
    assert store.job_with_attempt("job")[1].number == 2
    assert [one.is_open for one in store.attempts("job")] == [False, True]


@pytest.mark.parametrize(
    ("kind", "state"), [(StopKind.CANCELLED, JobState.CANCELLED), (StopKind.PAUSED, JobState.PAUSED)]
)
def test_a_stop_that_a_user_asked_for_is_never_followed_by_a_new_attempt(store, epoch, kind, state):
    running(store, epoch)
    store.request_stop("job", stop(kind))

    assert store.conclude("job", 1, epoch, ending(JobState.QUEUED, lost=True)) is None
    assert now(store).state is JobState.RUNNING
    assert ended(store, epoch, state=state).state is state


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.PAUSED])
def test_a_stop_request_is_over_when_the_job_may_run_again(store, epoch, state):
    running(store, epoch)
    store.request_stop("job", stop(StopKind.SHUTDOWN))

    assert ended(store, epoch, state=state).stop is None


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_a_terminal_job_keeps_the_stop_request_that_it_had(store, epoch, state):
    running(store, epoch)
    store.request_stop("job", stop())

    assert ended(store, epoch, state=state).stop == stop()


def test_a_paused_job_knows_since_when_and_with_what_exit_code(store, epoch):
    running(store, epoch)
    job = ended(store, epoch, state=JobState.PAUSED, exit_code=0)

    assert (job.paused_at, job.exit_code, job.completed_at) == (9.0, 0, None)


def test_an_adopted_attempt_belongs_to_the_later_term(store, epoch):
    running(store, epoch)
    later = store.acquire_term("a later server")

    assert store.adopt("job/1", "a later server", later, 100.0)
    [one] = store.attempts("job")
    assert (one.lease_owner, one.lease_epoch, one.lease_until) == ("a later server", later, 100.0)
    assert now(store).epoch == later
    event = store.events("job")[-1]
    assert (event.kind, event.data) == (EventKind.ADOPTED, {"owner": "a later server", "epoch": later})
    assert ended(store, later).state is JobState.COMPLETED


def test_a_renewed_lease_is_no_event(store, epoch):
    job = running(store, epoch)

    assert store.adopt("job/1", "this server", epoch, 200.0)
    assert now(store) == job
    assert store.attempts("job")[0].lease_until == 200.0


def test_an_attempt_that_ended_is_not_adopted(store, epoch):
    terminal(store, epoch)
    later = store.acquire_term("a later server")

    assert not store.adopt("job/1", "a later server", later, 100.0)
    assert not store.adopt("nothing", "a later server", later, 100.0)


STALE_WRITES = {
    "set_handle": lambda store, epoch: store.set_handle("job/1", {"pid": 9}, epoch),
    "mark_running": lambda store, epoch: store.mark_running("job", 1, epoch, 9.0),
    "take_in": lambda store, epoch: store.take_in("job/1", epoch, intake(metrics=rows(0, 1))),
    "conclude": lambda store, epoch: store.conclude("job", 1, epoch, ending(JobState.FAILED)),
}


def world(store):
    return store.job_with_attempt("job"), store.events("job"), store.metrics("job/1"), store.feed_bounds()


@pytest.mark.parametrize("verb", [*STALE_WRITES, "adopt"])
def test_a_write_of_an_earlier_term_is_refused_even_before_the_later_one_adopts(store, epoch, verb):
    pending(store, epoch)
    store.acquire_term("a later server")
    before = world(store)
    write = STALE_WRITES.get(verb, lambda store, epoch: store.adopt("job/1", "old", epoch, 100.0))

    assert not write(store, epoch)
    assert world(store) == before


@pytest.mark.parametrize("verb", STALE_WRITES)
def test_a_write_of_an_earlier_term_is_refused_after_the_later_one_has_adopted(store, epoch, verb):
    pending(store, epoch)
    later = store.acquire_term("a later server")
    store.adopt("job/1", "a later server", later, 100.0)
    before = world(store)

    assert not STALE_WRITES[verb](store, epoch)
    assert world(store) == before
    assert STALE_WRITES[verb](store, later)


@pytest.mark.parametrize("verb", STALE_WRITES)
def test_a_later_term_must_adopt_an_attempt_before_it_writes(store, epoch, verb):
    pending(store, epoch)
    later = store.acquire_term("a later server")
    before = world(store)

    assert not STALE_WRITES[verb](store, later)
    assert world(store) == before


@pytest.mark.parametrize("verb", ["mark_running", "conclude"])
def test_a_write_for_an_earlier_attempt_is_refused(store, epoch, verb):
    running(store, epoch)
    ended(store, epoch, state=JobState.QUEUED, lost=True)
    store.open_attempt(attempt(number=2), epoch)
    before = world(store)

    assert not STALE_WRITES[verb](store, epoch)
    assert world(store) == before


@pytest.mark.parametrize("verb", ["set_handle", "take_in"])
def test_nothing_is_written_to_an_attempt_that_ended(store, epoch, verb):
    terminal(store, epoch)
    before = world(store)

    assert not STALE_WRITES[verb](store, epoch)
    assert world(store) == before


def test_the_active_jobs_are_listed_with_their_open_attempts(store, epoch):
    pending(store, epoch, "a")
    running(store, epoch, "b")
    queued(store, "c")
    terminal(store, epoch, "d")
    paused(store, epoch, "e")

    found = store.active_jobs()
    assert [(job.id, one.id) for job, one in found] == [("a", "a/1"), ("b", "b/1")]
    assert found[0] == store.job_with_attempt("a")


def test_the_history_of_a_job_tells_every_move_without_a_break(store, epoch):
    store.submit(new())
    for number in (1, 2, 3):
        store.open_attempt(attempt(number=number), epoch)
        ended(store, epoch, number=number, state=JobState.QUEUED, lost=True)
    store.request_stop("job", stop())

    targets = [(e.source, e.target) for e in store.events("job") if e.kind is EventKind.MOVED]
    assert all(before[1] is after[0] for before, after in pairwise(targets))
    assert targets[-1] == (JobState.QUEUED, JobState.CANCELLED)
    assert now(store).lost_attempts == 3
