"""What is looked at: lists, the queue, counts, and the feed's own bounds."""

import pytest
from given_store import SPEC, attempt, ended, new, paused, pending, queued, running, terminal
from sqlalchemy.dialects import sqlite

from stoker.domain.errors import InvalidRequest
from stoker.domain.spec import JobSpec
from stoker.domain.states import JobState
from stoker.store import feed, listing
from stoker.store.port import JobQuery


def listed(store, **query):
    return [job.id for job, _ in store.jobs(JobQuery(**query)).jobs]


def test_jobs_are_listed_newest_first_with_their_newest_attempts(store, epoch):
    paused(store, epoch, "a")
    store.resume("a", None, 10.0)
    store.open_attempt(attempt("a", number=2), epoch)
    queued(store, "b")

    page = store.jobs(JobQuery())
    assert page.next is None
    assert page.jobs == (store.job_with_attempt("b"), store.job_with_attempt("a"))
    assert page.jobs[0][1] is None
    assert page.jobs[1][1].number == 2


def test_pages_stay_right_while_jobs_are_added(store):
    for number in range(7):
        queued(store, f"job-{number}")
    first = store.jobs(JobQuery(limit=3))
    queued(store, "newer")
    second = store.jobs(JobQuery(limit=3, after=first.next))
    third = store.jobs(JobQuery(limit=3, after=second.next))

    found = [job.id for page in (first, second, third) for job, _ in page.jobs]
    assert found == [f"job-{number}" for number in reversed(range(7))]
    assert third.next is None


def test_a_page_that_holds_the_rest_exactly_is_the_last(store):
    for number in range(3):
        queued(store, f"job-{number}")

    assert store.jobs(JobQuery(limit=3)).next is None
    assert store.jobs(JobQuery(limit=2)).next is not None


@pytest.mark.parametrize("after", ["", "x", "-1", "1.5", "٣", "9" * 40])
def test_a_page_key_that_is_none_is_refused(store, after):
    with pytest.raises(InvalidRequest, match="after"):
        store.jobs(JobQuery(after=after))


@pytest.mark.parametrize("limit", [0, -5])
def test_a_page_holds_at_least_one_job(store, limit):
    queued(store)

    assert listed(store, limit=limit) == ["job"]


def test_jobs_are_filtered_by_everything_at_once(store, epoch):
    queued(store, "a", owner="ada", user_id="u1")
    queued(store, "b", owner="bob", user_id="u2", spec=JobSpec(recipe="finetune"))
    running(store, epoch, "c")
    terminal(store, epoch, "d")

    assert listed(store, owner="bob") == ["b"]
    assert listed(store, recipe="finetune") == ["b"]
    assert listed(store, user_id="u1") == ["a"]
    assert listed(store, states=(JobState.RUNNING, JobState.COMPLETED)) == ["d", "c"]
    assert listed(store, owner="ada", states=(JobState.QUEUED,), user_id="u1") == ["a"]
    assert listed(store, owner="bob", user_id="u1") == []


@pytest.mark.parametrize(
    ("text", "found"),
    [("LLAMA", ["b"]), ("100%", ["c"]), ("a_b", ["a_b"]), ("\\", []), ("/", ["d"]), ("user", ["d"]), ("zz", [])],
)
def test_text_is_looked_for_as_it_stands_in_id_name_and_user(store, text, found):
    queued(store, "a_b")
    queued(store, "axb")
    queued(store, "b", name="my Llama run")
    queued(store, "c", name="100% better")
    queued(store, "d", user_id="a/user")

    assert listed(store, text=text) == found


def test_the_queue_is_ordered_by_head_then_priority_then_age(store):
    for job_id, priority in (("old", 0), ("young", 0), ("high", 5), ("low", -5), ("first", 0), ("second", 0)):
        queued(store, job_id, priority=priority)
    store.move_to_head("second", 2.0)
    store.move_to_head("first", 3.0)

    order = ["first", "second", "high", "old", "young", "low"]
    assert [job.id for job in store.queue(99)] == order
    assert [job.id for job in store.queue(2)] == order[:2]
    assert [store.queue_position(job_id) for job_id in order] == [1, 2, 3, 4, 5, 6]


def test_the_place_in_the_queue_is_found_by_ranges_of_its_index_alone(store):
    statement = listing._POSITION.params(id="job").compile(
        dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}
    )
    with store._database.read() as connection:
        plan = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")]
    ranges = [step for step in plan if "jobs_in_queue" in step]

    assert len(ranges) == 3
    assert all("COVERING INDEX" in step for step in ranges)
    assert [step.split("(", 1)[1] for step in ranges] == [
        "state=? AND head>?)", "state=? AND head=? AND priority>?)",
        "state=? AND head=? AND priority=? AND sequence<?)",
    ]  # fmt: skip


def test_only_queued_jobs_have_a_place_in_the_queue(store, epoch):
    running(store, epoch)

    assert store.queue_position("job") is None
    assert store.queue_position("nothing") is None
    assert store.queue(5) == []


def test_counts_name_every_state(store, epoch):
    queued(store, "a")
    queued(store, "b")
    pending(store, epoch, "c")
    terminal(store, epoch, "d", JobState.FAILED)

    counts = store.count_by_state()
    assert set(counts) == set(JobState)
    assert {state: count for state, count in counts.items() if count} == {
        JobState.QUEUED: 2,
        JobState.PENDING: 1,
        JobState.FAILED: 1,
    }


def test_what_is_not_there_reads_as_nothing(store):
    assert store.job("nothing") is None
    assert store.job_with_attempt("nothing") is None
    assert store.attempts("nothing") == []
    assert store.events("nothing") == []
    assert store.jobs(JobQuery()).jobs == ()


def test_events_are_paged_by_version(store, epoch):
    terminal(store, epoch)
    everything = store.events("job")

    assert store.events("job", after=2) == everything[2:]
    assert store.events("job", after=1, limit=2) == everything[1:3]


def test_an_empty_feed_has_no_bounds(store):
    assert store.feed_bounds() == (0, 0)
    assert store.feed(0) == []
    assert store.prune_feed(5) == 0


def test_a_pruned_feed_keeps_its_newest_rows_and_goes_on_counting(store, monkeypatch):
    monkeypatch.setattr(feed, "ROWS_AT_ONCE", 3)
    for number in range(10):
        queued(store, f"job-{number}")

    assert store.prune_feed(4) == 6
    assert store.feed_bounds() == (7, 10)
    assert store.prune_feed(4) == 0
    assert store.prune_feed(0) == 3
    queued(store, "later")
    assert [row.id for row in store.feed(0)] == [10, 11]


def test_the_feed_is_read_from_any_row_on(store):
    for number in range(5):
        queued(store, f"job-{number}")

    assert [row.id for row in store.feed(2)] == [3, 4, 5]
    assert [row.id for row in store.feed(2, limit=1)] == [3]


def test_listeners_are_called_after_commits_that_fed_the_feed_and_only_then(store, epoch):
    seen = []
    store.on_commit(lambda: seen.append(store.feed_bounds()[1]))
    queued(store)
    store.submit(new())
    store.open_attempt(attempt(), epoch)
    store.set_handle("job/1", {"pid": 1}, epoch)
    ended(store, epoch)

    assert seen == [1, 2, 4]


def test_a_listener_that_fails_does_not_make_the_write_look_failed(store):
    def fail():
        raise ValueError("listener")

    seen = []
    store.on_commit(fail)
    store.on_commit(lambda: seen.append(1))

    assert queued(store).id == "job"
    assert seen == [1]


def test_a_store_that_is_there_answers(store):
    store.ping()
    assert len(store.home_id()) == 32


def test_a_spec_of_any_form_reads_back(store):
    plain = JobSpec()
    store.submit(new("plain", spec=plain))
    store.submit(new("full", spec=SPEC))

    assert store.job("plain").spec == plain
    assert store.job("full").spec == SPEC
