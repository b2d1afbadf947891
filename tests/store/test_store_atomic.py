"""A write that fails at any of its statements, or whose answer is lost, leaves all or nothing."""

from itertools import count

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
from sqlalchemy import Engine, event, select

from stoker.domain.states import JobState
from stoker.store.port import SupervisorNote
from stoker.store.schema import metadata

NOTES = (SupervisorNote(at=4.0, data={"note": "phase"}),)
FULL = intake(metrics=rows(0, 3), notes=NOTES, progress={"step": 3}, live={"phase": "saving"}, log_ranges=((0, 9),))

VERBS = {
    "submit": (lambda s, e: None, lambda s, e: s.submit(new(idempotency_key="key"))),
    "cancel": (queued, lambda s, e: s.request_stop("job", stop())),
    "request_stop": (running, lambda s, e: s.request_stop("job", stop())),
    "resume": (paused, lambda s, e: s.resume("job", None, 20.0)),
    "move_to_head": (queued, lambda s, e: s.move_to_head("job", 20.0)),
    "set_priority": (queued, lambda s, e: s.set_priority("job", 3, 20.0)),
    "delete": (terminal, lambda s, e: s.delete("job", 20.0)),
    "open_attempt": (queued, lambda s, e: s.open_attempt(attempt(), e)),
    "set_handle": (pending, lambda s, e: s.set_handle("job/1", {"pid": 1}, e)),
    "mark_running": (pending, lambda s, e: s.mark_running("job", 1, e, 3.0)),
    "take_in": (running, lambda s, e: s.take_in("job/1", e, FULL)),
    "conclude": (pending, lambda s, e: s.conclude("job", 1, e, ending(JobState.FAILED))),
    "acquire_term": (queued, lambda s, e: s.acquire_term("next")),
}


class Fault(Exception):
    pass


class Faults:
    """Fails the n-th statement from now on, before it is carried out."""

    def __init__(self, nth):
        self.left = nth

    def __call__(self, *_):
        self.left -= 1
        if self.left == 0:
            raise Fault

    def __enter__(self):
        event.listen(Engine, "before_cursor_execute", self)
        return self

    def __exit__(self, *_):
        event.remove(Engine, "before_cursor_execute", self)


def everything(store):
    with store._database.read() as connection:
        return {table.name: connection.execute(select(table)).all() for table in metadata.sorted_tables}


def prepared(store, epoch, prepare):
    if prepare is queued:
        queued(store)
    else:
        prepare(store, epoch)


@pytest.mark.parametrize("verb", VERBS)
def test_a_write_that_fails_at_any_statement_changes_nothing(store, epoch, verb):
    prepare, act = VERBS[verb]
    prepared(store, epoch, prepare)
    before = everything(store)
    for nth in count(1):
        try:
            with Faults(nth) as faults:
                act(store, epoch)
        except Fault:
            assert everything(store) == before
        else:
            assert faults.left > 0
            break

    assert nth > 3
    assert everything(store) != before


def test_a_submit_whose_answer_was_lost_is_sent_again_and_stays_one_job(store):
    first, _ = store.submit(new(idempotency_key="key"))
    again, is_new = store.submit(new(idempotency_key="key"))

    assert (again, is_new) == (first, False)


def test_the_scheduler_may_repeat_every_write_whose_answer_was_lost(store, epoch):
    queued(store)
    assert store.open_attempt(attempt(), epoch) is not None
    assert store.open_attempt(attempt(), epoch) is None
    assert store.mark_running("job", 1, epoch, 3.0)
    assert not store.mark_running("job", 1, epoch, 3.0)
    assert store.take_in("job/1", epoch, FULL)
    assert not store.take_in("job/1", epoch, FULL)
    ended(store, epoch)
    assert store.conclude("job", 1, epoch, ending()) is None

    assert len(store.attempts("job")) == 1
    assert len(store.metrics("job/1")) == 4
    assert versions(store) == list(range(1, now(store).version + 1))
