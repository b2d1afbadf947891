"""What a trainer reports is taken in once, whole, and told to the feed."""

import math

import pytest
from given_store import intake, now, rows, running

from stoker.domain.events import EventKind, FeedKind
from stoker.store.port import MetricRow, SupervisorNote


def test_metrics_read_back_as_they_were_reported(store, epoch):
    running(store, epoch)
    odd = MetricRow(
        seq=3, at=1.5, step=None, epoch=None, kind="evaluation", values={"loss": None, "n": 2}, flags={"loss": "nan"}
    )
    store.take_in("job/1", epoch, intake(metrics=(*rows(0, 2), odd)))

    assert store.metrics("job/1") == [*rows(0, 2), odd]
    assert store.metrics("job/1", after=1, limit=1) == list(rows(2, 2))
    assert store.metrics("nothing") == []


def test_the_feed_tells_ranges_and_the_snapshot_not_the_data(store, epoch):
    running(store, epoch)
    last = store.feed_bounds()[1]
    store.take_in(
        "job/1",
        epoch,
        intake(metrics=rows(0, 4), progress={"step": 4}, live={"phase": "training"}, log_ranges=((0, 10), (10, 25))),
    )

    told = [(row.kind, row.data) for row in store.feed(last)]
    whose = {"attempt": "job/1", "number": 1}
    assert told == [
        (FeedKind.METRICS, whose | {"from": 0, "to": 5}),
        (FeedKind.PROGRESS, whose | {"progress": {"step": 4}, "live": {"phase": "training"}}),
        (FeedKind.LOG, whose | {"from": 0, "to": 10}),
        (FeedKind.LOG, whose | {"from": 10, "to": 25}),
    ]
    assert {row.owner for row in store.feed(last)} == {"ada"}


def test_the_snapshot_replaces_the_one_before_and_none_leaves_it(store, epoch):
    running(store, epoch)
    store.take_in("job/1", epoch, intake("", "a", progress={"step": 1, "loss": 2.0}, live={"phase": "loading"}))
    store.take_in("job/1", epoch, intake("a", "b", progress={"step": 2}))
    store.take_in("job/1", epoch, intake("b", "c"))
    [one] = store.attempts("job")

    assert (one.cursor, one.progress, one.live) == ("c", {"step": 2}, {"phase": "loading"})


def test_live_figures_are_told_when_they_change(store, epoch):
    running(store, epoch)
    last = store.feed_bounds()[1]
    for cursor, phase in enumerate(["loading", "loading", "training"]):
        before = str(cursor) if cursor else ""
        store.take_in("job/1", epoch, intake(before, str(cursor + 1), live={"phase": phase}))

    assert [row.data["live"]["phase"] for row in store.feed(last)] == ["loading", "training"]


def test_an_intake_counts_once(store, epoch):
    running(store, epoch)
    once = intake(
        "", "a", metrics=rows(0, 4), notes=(SupervisorNote(at=1.0, data={"note": "phase"}),), progress={"s": 1}
    )

    assert store.take_in("job/1", epoch, once)
    before = store.job_with_attempt("job"), store.feed_bounds(), store.events("job")
    assert not store.take_in("job/1", epoch, once)
    assert (store.job_with_attempt("job"), store.feed_bounds(), store.events("job")) == before
    assert len(store.metrics("job/1")) == 5


def test_a_sequence_number_is_taken_in_once_even_if_it_is_read_again(store, epoch):
    running(store, epoch)
    store.take_in("job/1", epoch, intake("", "a", metrics=rows(0, 4)))
    last = store.feed_bounds()[1]
    assert store.take_in("job/1", epoch, intake("a", "b", metrics=rows(2, 6)))
    assert store.take_in("job/1", epoch, intake("b", "c", metrics=rows(2, 6)))

    assert [row.seq for row in store.metrics("job/1")] == list(range(7))
    assert [row.data["from"] for row in store.feed(last)] == [5]


def test_notes_become_history_without_disturbing_the_versions(store, epoch):
    job = running(store, epoch)
    notes = tuple(SupervisorNote(at=4.0 + i, data={"note": "phase", "phase": name}) for i, name in enumerate("ab"))
    store.take_in("job/1", epoch, intake(notes=notes))

    first, second = store.events("job", after=job.version)
    assert (first.kind, first.version, first.attempt, first.at) == (EventKind.SUPERVISOR_NOTE, job.version + 1, 1, 4.0)
    assert second.data == {"note": "phase", "phase": "b"}
    assert now(store).version == job.version + 2


def test_an_empty_intake_only_moves_the_cursor(store, epoch):
    job = running(store, epoch)
    bounds = store.feed_bounds()

    assert store.take_in("job/1", epoch, intake("", "a"))
    assert now(store) == job
    assert store.feed_bounds() == bounds
    assert store.attempts("job")[0].cursor == "a"


@pytest.mark.parametrize(
    ("row", "read_back"),
    [
        ({"step": 2**80}, {"step": None}),
        ({"epoch": math.inf}, {"epoch": None}),
        ({"at": math.nan}, {"at": 0.0}),
        ({"kind": "a\0\ud800"}, {"kind": "a\ufffd?"}),
        ({"values": {"loss": math.nan}}, {"values": {"loss": None}}),
        ({"values": {"tokens": 2**70}}, {"values": {"tokens": float(2**70)}}),
        ({"flags": {"\udcff": "x"}}, {"flags": {"?": "x"}}),
    ],
)
def test_figures_that_no_database_holds_never_stop_the_intake(store, epoch, row, read_back):
    running(store, epoch)
    values = {"seq": 0, "at": 1.0, "step": 1, "epoch": 0.5, "kind": "train", "values": {}, "flags": {}}

    assert store.take_in("job/1", epoch, intake(metrics=(MetricRow(**(values | row)),)))
    assert store.metrics("job/1") == [MetricRow(**(values | read_back))]


def test_a_snapshot_of_any_depth_and_size_is_taken_in(store, epoch):
    running(store, epoch)
    deep = current = {}
    for _ in range(400):
        current["x"] = {}
        current = current["x"]

    assert store.take_in("job/1", epoch, intake(progress={"deep": deep, "huge": 10**5000, "text": "\ud83d"}))
    assert store.attempts("job")[0].progress["huge"] is None
