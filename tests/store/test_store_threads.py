"""Many threads at once: one winner, and a feed without gaps in the order of the commits."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, Thread

import pytest
from given_store import attempt, ended, intake, new, now, queued, rows, running, stop, versions

from stoker.domain.errors import IllegalMove, Unavailable
from stoker.domain.states import JobState
from stoker.store import sqlite


def at_once(count, call):
    barrier = Barrier(count)

    def run(number):
        barrier.wait(timeout=10)
        return call(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_submits_with_one_key_at_once_make_one_job(store):
    made = at_once(12, lambda i: store.submit(new(f"job-{i}", body_hash="same", idempotency_key="key")))

    assert sum(is_new for _, is_new in made) == 1
    assert len({job.id for job, _ in made}) == 1
    assert store.count_by_state()[JobState.QUEUED] == 1


def test_submits_with_one_id_at_once_make_one_job(store):
    made = at_once(12, lambda _: store.submit(new()))

    assert sum(is_new for _, is_new in made) == 1
    assert versions(store) == [1]


def test_an_attempt_opened_by_many_at_once_is_opened_by_one(store, epoch):
    queued(store)
    opened = at_once(8, lambda i: store.open_attempt(attempt(id=f"try-{i}"), epoch))

    assert sum(job is not None for job in opened) == 1
    assert len(store.attempts("job")) == 1


def test_an_attempt_ended_by_many_at_once_ends_once(store, epoch):
    running(store, epoch)
    states = [JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.PAUSED] * 2

    def end(number):
        try:
            return ended(store, epoch, state=states[number])
        except AssertionError:
            return None

    done = [job for job in at_once(8, end) if job is not None]
    assert len(done) == 1
    assert now(store) == done[0]
    assert versions(store) == list(range(1, done[0].version + 1))


def test_a_cancel_and_a_claim_at_once_never_both_win_the_queue(store, epoch):
    for number in range(20):
        queued(store, f"job-{number}")

        def act(which, job_id=f"job-{number}"):
            return store.request_stop(job_id, stop()) if which else store.open_attempt(attempt(job_id), epoch)

        opened, stopped = at_once(2, act)
        assert (stopped.previous is JobState.QUEUED) == (opened is None)


def test_the_feed_has_no_gap_and_is_in_the_order_of_the_commits(store, epoch):
    for number in range(4):
        running(store, epoch, f"job-{number}")
    seen, is_over = [], Event()

    def watch():
        last = 0
        while not is_over.is_set() or last < store.feed_bounds()[1]:
            for row in store.feed(last):
                seen.append(row.id)
                last = row.id

    watcher = Thread(target=watch)
    watcher.start()

    def write(number):
        for step in range(25):
            cursor = str(step) if step else ""
            store.take_in(f"job-{number}/1", epoch, intake(cursor, str(step + 1), metrics=rows(step, step)))
            store.set_priority(f"job-{number}", step + 1, 5.0)

    at_once(4, write)
    is_over.set()
    watcher.join(timeout=20)

    assert seen == list(range(1, store.feed_bounds()[1] + 1))
    assert len(seen) == 4 * 3 + 4 * 25 * 2


def test_what_was_written_is_read_at_once_in_every_thread(store):
    def submit_and_look(number):
        for step in range(20):
            job, _ = store.submit(new(f"job-{number}-{step}"))
            assert store.job(job.id) == job

    at_once(6, submit_and_look)
    assert store.count_by_state()[JobState.QUEUED] == 120


def test_the_history_of_one_job_stays_whole_under_many_writers(store, epoch):
    running(store, epoch)

    def disturb(number):
        for step in range(10):
            try:
                store.set_priority("job", number * 100 + step + 1, 5.0)
            except IllegalMove:
                return

    at_once(6, disturb)
    assert versions(store) == list(range(1, now(store).version + 1))


def test_a_closed_store_says_so_to_those_who_come_late(store, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.2)
    store.close()
    store.close()

    with pytest.raises(Unavailable):
        store.ping()
    with pytest.raises(Unavailable):
        queued(store)


def test_a_store_is_closed_while_others_read(store):
    for number in range(50):
        queued(store, f"job-{number}")

    def read(number):
        if number == 0:
            store.close()
            return True
        try:
            for _ in range(200):
                store.queue(50)
        except Unavailable:
            return True
        return False

    assert at_once(5, read)[0]
