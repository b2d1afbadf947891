"""How often an open attempt is looked at."""

from stoker.scheduler.intake import Seen
from stoker.scheduler.watched import INTAKE_SECONDS, Watched


def watched(*, is_running: bool) -> Watched:
    facts = {"job_id": "job", "attempt_id": "attempt", "number": 1, "cursor": "", "handle": {}}
    return Watched(seen=Seen(), is_running=is_running, since=0.0, **facts)


def test_an_attempt_that_is_not_yet_running_is_looked_at_again_soon():
    pending = watched(is_running=False)
    pending.look_later(100.0)

    assert 100.0 < pending.due <= 100.0 + INTAKE_SECONDS / 10


def test_the_records_of_a_running_attempt_are_taken_in_a_few_times_a_second():
    running = watched(is_running=True)
    running.look_later(100.0)

    assert running.due == 100.0 + INTAKE_SECONDS
