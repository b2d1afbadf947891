"""Submitting and deleting: one request is one job, and an id is never used twice."""

import pytest
from given_store import SPEC, attempt, ended, intake, new, queued, rows, running, terminal

from stoker.domain.errors import IdempotencyMismatch, IdTaken, IllegalMove, NotFound
from stoker.domain.events import EventKind, FeedKind
from stoker.domain.states import ACTIVE, JobState
from stoker.store import submits


def test_a_submitted_job_is_queued_and_reads_back_as_it_was_given(store):
    given = new(user_id="u1", name="näme", priority=3, retried_from="older", resume_from="/runs/checkpoint-5")
    job, is_new = store.submit(given)

    assert is_new
    assert store.job("job") == job
    assert job.spec == SPEC
    assert (job.state, job.owner, job.user_id, job.name, job.priority) == (JobState.QUEUED, "ada", "u1", "näme", 3)
    assert (job.retried_from, job.resume_from) == ("older", "/runs/checkpoint-5")
    assert (job.created_at, job.updated_at, job.queued_at) == (1.0, 1.0, 1.0)


def test_a_submit_writes_one_event_and_one_row_of_the_feed(store):
    queued(store)

    [event] = store.events("job")
    [row] = store.feed(0)
    assert (event.kind, event.version, event.target) == (EventKind.SUBMITTED, 1, JobState.QUEUED)
    assert (row.id, row.kind, row.job_id, row.owner) == (1, FeedKind.STATE, "job", "ada")
    assert (row.data["event"], row.data["state"], row.data["version"]) == ("submitted", "queued", 1)


def test_the_same_id_with_the_same_body_is_the_same_job(store):
    first, _ = store.submit(new())
    second, is_new = store.submit(new(at=99.0))

    assert not is_new
    assert second == first
    assert len(store.feed(0)) == 1


def test_the_same_id_with_another_body_is_refused(store):
    queued(store)

    with pytest.raises(IdTaken):
        store.submit(new(body_hash="other"))


def test_the_same_id_and_body_of_another_owner_is_refused(store):
    queued(store)

    with pytest.raises(IdTaken):
        store.submit(new(owner="eve"))


def test_the_same_key_with_the_same_body_is_the_same_job_whatever_its_id(store):
    store.submit(new("one", body_hash="body", idempotency_key="key"))
    job, is_new = store.submit(new("two", body_hash="body", idempotency_key="key"))

    assert (job.id, is_new) == ("one", False)
    assert store.job("two") is None


def test_the_same_key_with_another_body_is_refused(store):
    queued(store, "one", idempotency_key="key")

    with pytest.raises(IdempotencyMismatch):
        store.submit(new("two", idempotency_key="key"))
    assert store.job("two") is None


def test_a_key_is_its_owners_own(store):
    queued(store, "one", idempotency_key="key")
    job, is_new = store.submit(new("two", owner="bob", idempotency_key="key"))

    assert (job.id, is_new) == ("two", True)


def test_a_key_that_comes_with_a_known_id_and_body_is_remembered(store):
    queued(store)
    store.submit(new(idempotency_key="key"))
    job, is_new = store.submit(new("other", body_hash="hash of job", idempotency_key="key"))

    assert (job.id, is_new) == ("job", False)


def test_a_refused_submit_changes_nothing(store):
    queued(store)
    before = store.feed_bounds()
    with pytest.raises(IdTaken):
        store.submit(new(body_hash="other", idempotency_key="key"))
    job, is_new = store.submit(new("second", idempotency_key="key"))

    assert before == (1, 1)
    assert is_new
    assert job.sequence == 2


def test_a_deleted_id_stays_taken_for_the_same_and_any_other_body(store, epoch):
    terminal(store, epoch)
    store.delete("job", 20.0)

    assert store.job("job") is None
    for body_hash in ("hash of job", "other"):
        with pytest.raises(IdTaken, match="deleted"):
            store.submit(new(body_hash=body_hash))


def test_the_key_of_a_deleted_job_is_refused(store, epoch):
    store.submit(new(idempotency_key="key"))
    store.open_attempt(attempt(), epoch)
    ended(store, epoch)
    store.delete("job", 20.0)

    with pytest.raises(IdTaken, match="deleted"):
        store.submit(new("other", body_hash="hash of job", idempotency_key="key"))


def test_deleting_takes_everything_of_the_job_and_tells_the_feed(store, epoch, monkeypatch):
    monkeypatch.setattr(submits, "METRICS_AT_ONCE", 3)
    running(store, epoch)
    running(store, epoch, "other")
    for job_id in ("job", "other"):
        assert store.take_in(f"{job_id}/1", epoch, intake(metrics=rows(0, 9)))
    ended(store, epoch)
    store.delete("job", 20.0)

    assert store.attempts("job") == []
    assert store.events("job") == []
    assert store.metrics("job/1") == []
    assert len(store.metrics("other/1")) == 10
    last = store.feed(0)[-1]
    assert (last.kind, last.job_id, last.owner, last.at, last.data) == (FeedKind.DELETED, "job", "ada", 20.0, {})


@pytest.mark.parametrize("state", [*sorted(ACTIVE), JobState.QUEUED, JobState.PAUSED])
def test_only_a_terminal_job_is_deleted(store, epoch, state):
    running(store, epoch)
    if state not in ACTIVE:
        ended(store, epoch, state=state)

    with pytest.raises(IllegalMove):
        store.delete("job", 20.0)
    assert store.job("job") is not None


def test_deleting_what_is_not_there_is_said(store):
    with pytest.raises(NotFound):
        store.delete("nothing", 1.0)
