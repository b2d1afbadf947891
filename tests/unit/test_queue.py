"""Which job starts next, and what the others are told."""

import pytest

from stoker.domain.queue import is_ready, next_to_start, waiting_reason
from stoker.domain.states import JobState
from tests.unit.given_unit import NOW, job


def queued(name, **facts):
    return job(id=name, state=JobState.QUEUED, **facts)


FIRST, SECOND = queued("first"), queued("second")


def test_the_head_of_the_queue_starts():
    assert next_to_start([FIRST, SECOND], 0, 1, NOW) is FIRST


@pytest.mark.parametrize(("active", "slots"), [(1, 1), (2, 1), (4, 4), (0, 0)])
def test_nothing_starts_while_every_slot_is_taken(active, slots):
    assert next_to_start([FIRST], active, slots, NOW) is None


def test_a_job_that_waits_after_a_loss_lets_others_by():
    waiting = queued("waiting", not_before=NOW + 5)

    assert next_to_start([waiting, SECOND], 0, 1, NOW) is SECOND
    assert next_to_start([waiting], 0, 1, NOW) is None
    assert next_to_start([waiting, SECOND], 0, 1, NOW + 5) is waiting


def test_an_empty_queue_starts_nothing():
    assert next_to_start([], 0, 1, NOW) is None


def test_a_job_is_ready_from_its_moment_on():
    assert is_ready(queued("x"), NOW)
    assert is_ready(queued("x", not_before=NOW), NOW)
    assert not is_ready(queued("x", not_before=NOW + 0.001), NOW)


@pytest.mark.parametrize(
    ("waiting", "position", "active", "slots", "text"),
    [
        (queued("x"), 1, [], 1, "Starts now"),
        (queued("x"), 1, ["a"], 2, "Starts now"),
        (queued("x"), 1, ["a"], 1, "Waits for a slot: 1 of 1 taken by a"),
        (queued("x"), 1, ["a", "b"], 2, "Waits for a slot: 2 of 2 taken by a, b"),
        (queued("x"), 2, ["a"], 1, "Waits for 1 job ahead of it in the queue"),
        (queued("x"), 3, ["a"], 1, "Waits for 2 jobs ahead of it in the queue"),
        (queued("x", not_before=NOW + 9.6), 1, [], 1, "Waits 10 s before the next attempt, after attempt 1 was lost"),
        (queued("x", not_before=NOW + 0.01), 3, [], 1, "Waits 1 s before the next attempt, after attempt 1 was lost"),
    ],
)
def test_a_waiting_job_is_told_why_in_one_sentence(waiting, position, active, slots, text):
    assert waiting_reason(waiting, position, active, slots, NOW) == text
