"""What fails for one attempt is its own trouble, and no wake-up is ever lost."""

import pytest

from stoker.domain.errors import Unavailable
from stoker.domain.stop import StopKind, StopRequest
from stoker.engines.port import Finding
from tests.scheduler.given_scheduler import Desk, ended

EXECUTED = {"journal": ({"note": "executed", "at": 5.0},)}


@pytest.fixture
def desk(tmp_path):
    made = Desk(tmp_path)
    yield made
    made.scheduler.stop()
    made.store.close()


def test_a_clean_up_that_fails_once_is_begun_again(desk):
    desk.submit("a")
    desk.tick()
    desk.place("a").finding = Finding.DEAD
    desk.engine.clean_up_trouble = [OSError(24, "Too many open files")]
    desk.tick(6, seconds=11)

    assert desk.engine.clean_up_trouble == []
    assert desk.engine.cleaned
    assert desk.state("a") == "queued"


def test_a_look_that_fails_is_done_again_and_holds_nobody_up(desk):
    desk.submit("a")
    desk.tick()
    desk.engine.trouble = [OSError(24, "Too many open files")]
    found = desk.scheduler._inspection.inspect_all()
    desk.place("a").exit = ended()
    desk.submit("b")
    desk.tick(4)

    assert list(found.values()) == ["unknown"]
    assert desk.state("a") == "completed"
    assert desk.state("b") in ("pending", "running")


def test_records_that_can_not_be_taken_in_stop_neither_the_other_jobs_nor_their_own_end(desk):
    desk.submit("bad")
    desk.tick()
    desk.place("bad").records = [OverflowError("int too large")]
    desk.submit("good")
    desk.tick(3)
    desk.place("good").exit = ended()
    desk.tick(3)
    desk.place("bad").exit = ended()
    desk.tick(30, seconds=10)

    assert desk.state("good") == "completed"
    assert desk.state("bad") == "completed"


def test_a_slot_that_a_reconcile_frees_is_used_at_once(desk):
    desk.submit("a")
    desk.submit("b")
    desk.tick()
    desk.submit("c")
    desk.tick()
    desk.place("a").exit = ended()
    desk.place("a").finding = Finding.ENDED
    desk.scheduler._attempts.begin_tick()
    desk.scheduler._inspection.inspect_all()
    desk.tick(2)

    assert desk.state("a") == "completed"
    assert desk.state("c") in ("pending", "running")


def test_a_start_that_was_taken_in_but_not_marked_is_marked_later(desk, monkeypatch):
    desk.submit("a")
    desk.tick()
    desk.place("a").records = [EXECUTED]
    mark_running = desk.store.mark_running

    def refuse(*_):
        monkeypatch.setattr(desk.store, "mark_running", mark_running)
        raise Unavailable("busy")

    monkeypatch.setattr(desk.store, "mark_running", refuse)
    desk.tick(4)

    assert desk.state("a") == "running"


def test_an_attempt_that_vanished_is_swept_before_another_is_made(desk):
    desk.submit("a")
    desk.tick()
    first = desk.store.attempts("a")[0]
    desk.place("a").records = [EXECUTED]
    desk.tick(2)
    desk.place("a").finding = Finding.ABSENT
    desk.tick(4, seconds=11)

    assert desk.engine.cleaned == [first.id]
    assert desk.store.job("a").lost_attempts == 1


def test_an_end_that_is_on_record_after_all_wins_over_a_loss(desk):
    desk.submit("a")
    desk.tick()
    place = desk.place("a")
    place.records, place.finding = [EXECUTED], Finding.DEAD
    desk.tick(1, seconds=11)
    place.exit = ended(exit_code=7)
    desk.tick(3, seconds=11)

    assert desk.state("a") == "failed"
    assert desk.store.job("a").exit_code == 7


def test_a_stop_that_could_not_be_written_is_written_later(desk, monkeypatch):
    desk.submit("a")
    desk.tick()
    place = desk.place("a")
    channel = type(desk.engine.channel("x"))
    send_stop = channel.send_stop

    def full(self, stop):
        monkeypatch.setattr(channel, "send_stop", send_stop)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(channel, "send_stop", full)
    desk.store.request_stop("a", StopRequest(kind=StopKind.CANCELLED, who="x", why="y", at=1.0))
    desk.scheduler.wake()
    desk.tick(3)

    assert place.stops == ["cancelled"]


def test_a_silent_supervisor_is_never_ended_beside_a_command_whose_signs_can_not_tell(desk):
    desk.engine.end_supervisor = lambda attempt_id: desk.engine.cleaned.append("ended")
    desk.submit("a")
    desk.tick()
    desk.place("a").records, desk.place("a").finding = [EXECUTED], Finding.UNRESPONSIVE
    desk.tick(200, seconds=11)

    assert desk.engine.cleaned == []
    assert desk.state("a") == "running"


def test_a_silent_supervisor_is_ended_when_its_watched_job_hangs_beyond_its_phase(desk):
    desk.engine.end_supervisor = lambda attempt_id: desk.engine.cleaned.append("ended")
    desk.submit("a")
    desk.tick()
    reported = {"journal": (*EXECUTED["journal"], {"note": "reported", "watched_by": "callback", "at": 5.0})}
    desk.place("a").records, desk.place("a").finding = [reported], Finding.UNRESPONSIVE
    desk.tick(50, seconds=11)
    before = list(desk.engine.cleaned)
    desk.tick(20, seconds=11)

    assert before == []
    assert desk.engine.cleaned
