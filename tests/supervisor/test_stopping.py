"""Stops: asked for, terminated, killed, each within its bound, and what the record says of them."""

import json
import os
import resource
import signal
import socket
import time

import pytest

from stoker.domain.limits import Limits
from stoker.domain.outcome import End, conclude
from stoker.domain.states import JobState
from stoker.domain.stop import StopKind, StopStep
from stoker.rundir import wire
from stoker.rundir.durable import write_durably
from stoker.rundir.identity import is_alive, send_signal
from stoker.rundir.layout import PROTOCOL
from stoker.supervisor.listener import MOST_PEERS
from stoker.supervisor.stopping import Stop, StopFile
from tests.supervisor.attempts import python
from tests.supervisor.test_watching import reporting
from tests.waiting import wait_until

SAVES = """
    report(kind="hello", can_save=True)
    while not os.path.exists(run + "/control.json"):
        time.sleep(0.01)
    with open(run + "/control.json") as file:
        asked = json.load(file)
    report(kind="phase", phase="saving")
    for shard in range({shards}):
        report(kind="shard", number=shard)
        time.sleep(0.1)
    with open(run + "/outcome.json", "w") as file:
        json.dump({{"outcome": "stopped", "asked": asked["stop"]}}, file)
    """


def test_a_cancelled_command_is_terminated(make_attempt, containment):
    attempt = make_attempt(["sleep", "100"], containment=containment).start()
    attempt.wait_for("executed")
    attempt.stop("cancelled")
    record = attempt.exit()

    assert (record.stop, record.stop_sent, record.stop_step) == ("cancelled", True, "terminate")
    assert record.signal == signal.SIGTERM
    assert [note["step"] for note in attempt.notes("stop")] == ["terminate"]


@pytest.mark.parametrize("kind", ["paused", "cancelled", "shutdown"])
def test_a_trainer_that_can_save_is_asked_first(make_attempt, kind):
    attempt = make_attempt(reporting(SAVES.format(shards=1)), reports=True).start()
    attempt.wait_for("reported")
    attempt.stop(kind)
    record = attempt.exit()

    assert (record.exit_code, record.stop, record.stop_sent, record.stop_step) == (0, kind, True, "ask")
    assert record.outcome == {"outcome": "stopped", "asked": kind}


def test_a_trainer_that_has_not_reported_is_not_asked(make_attempt):
    attempt = make_attempt(["sleep", "100"], reports=True, can_save=True).start()
    attempt.wait_for("executed")
    attempt.stop("paused")
    record = attempt.exit()

    assert record.stop_step == "terminate"
    assert not os.path.exists(attempt.run.control)


def test_saving_that_advances_is_waited_for_beyond_the_bound(make_attempt):
    limits = Limits(checkpoint_seconds=0.6, grace_seconds=5)
    attempt = make_attempt(reporting(SAVES.format(shards=20)), reports=True, limits=limits).start()
    attempt.wait_for("reported")
    attempt.stop("paused")
    record = attempt.exit()

    assert (record.exit_code, record.stop_step) == (0, "ask")


def test_a_trainer_that_does_not_answer_is_terminated_and_then_killed(make_attempt, containment):
    code = """
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        report(kind="hello", can_save=True)
        time.sleep(100)
        """
    limits = Limits(checkpoint_seconds=0.5, grace_seconds=0.5)
    attempt = make_attempt(reporting(code), reports=True, limits=limits, containment=containment).start()
    attempt.wait_for("reported")
    attempt.stop("paused")
    record = attempt.exit()
    asked, terminated, killed = (note["t"] for note in attempt.notes("stop"))

    assert (record.signal, record.stop_step) == (signal.SIGKILL, "kill")
    assert 0.45 < terminated - asked < 1.0
    assert 0.45 < killed - terminated < 0.7


def test_work_that_is_saved_in_the_grace_period_is_waited_for(make_attempt):
    code = """
        import signal
        def save(number, frame):
            time.sleep(1)
            print("saved")
            sys.exit(3)
        signal.signal(signal.SIGTERM, save)
        print("ready")
        time.sleep(100)
        """
    attempt = make_attempt(reporting(code), limits=Limits(grace_seconds=10)).start()
    attempt.wait_for_log(b"ready")
    attempt.stop("cancelled")
    record = attempt.exit()

    assert record.exit_code == 3
    assert b"saved" in attempt.log()


def test_work_that_is_saved_behind_a_wrapper_that_ended_is_waited_for(make_attempt):
    worker = 'trap "sleep 0.7; echo saved; exit" TERM; echo ready; while :; do sleep 0.05; done'
    attempt = make_attempt(["sh", "-c", f"({worker}) & wait"], limits=Limits(grace_seconds=10)).start()
    attempt.wait_for_log(b"ready")
    attempt.stop("cancelled")
    record = attempt.exit()

    assert record.signal == signal.SIGTERM
    assert b"saved" in attempt.log()


def test_a_stopped_tree_gets_its_terminate(make_attempt):
    attempt = make_attempt(["sh", "-c", "kill -STOP $$"], limits=Limits(grace_seconds=30)).start()
    attempt.wait_for("executed")
    attempt.stop("cancelled")
    record = attempt.exit(10)

    assert (record.signal, record.stop_step) == (signal.SIGTERM, "terminate")


def test_sigterm_to_the_supervisor_is_a_shutdown_after_which_the_job_goes_on(make_attempt):
    attempt = make_attempt(["sleep", "100"]).start()
    attempt.wait_for("executed")
    attempt.signal_supervisor(signal.SIGTERM)
    record = attempt.exit()
    end = End(signal=record.signal, stop=StopKind(record.stop), stop_sent=record.stop_sent)

    assert (record.stop, record.stop_sent, record.stop_step) == ("shutdown", True, "terminate")
    assert conclude(end).state is JobState.QUEUED


def test_a_cancel_replaces_the_shutdown_of_a_sigterm_to_the_supervisor(make_attempt):
    limits = Limits(checkpoint_seconds=2, grace_seconds=0.3)
    attempt = make_attempt(reporting('report(kind="hello", can_save=True); time.sleep(100)'), limits=limits).start()
    attempt.wait_for("reported")
    attempt.signal_supervisor(signal.SIGTERM)
    attempt.wait_for("stop", kind="shutdown", step="ask")
    attempt.stop("cancelled")

    assert attempt.exit(30).stop == "cancelled"


def test_a_stop_is_found_on_disk_without_the_socket(make_attempt):
    attempt = make_attempt(["sleep", "100"]).start()
    attempt.wait_for("executed")
    os.unlink(attempt.directory.socket)
    attempt.stop("cancelled", tell=False)
    record = attempt.exit(5)

    assert (record.stop, record.stop_sent) == ("cancelled", True)


def test_a_stop_of_a_server_that_was_replaced_is_refused(make_attempt):
    attempt = make_attempt(["sleep", "100"], epoch=3).start()
    attempt.wait_for("executed")
    write_durably(attempt.directory.fence, b"5")
    answers = []
    for epoch in (2, 4, 5):
        attempt.stop("cancelled", epoch=epoch, tell=False)
        answers.append(attempt.ask("stop")["stop"])
    record = attempt.exit()

    assert answers == [None, None, "cancelled"]
    assert record.stop == "cancelled"


def test_a_stop_that_could_not_be_read_is_read_again(make_attempt):
    attempt = make_attempt(["true"])
    attempt.stop("cancelled", tell=False)
    file = StopFile(attempt.directory, epoch=1)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        unread = file.look()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert [unread, file.look(), file.look()] == [None, StopKind.CANCELLED, None]


def test_a_stop_older_than_the_order_is_refused(make_attempt):
    attempt = make_attempt(["sleep", "100"], epoch=3).start()
    attempt.wait_for("executed")
    attempt.stop("cancelled", epoch=2, tell=False)

    assert attempt.ask("stop")["stop"] is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"kind": "dance", "who": "", "why": "", "at": 0, "epoch": 9}', b"[]"])
def test_a_stop_that_can_not_be_understood_is_passed_over(make_attempt, content):
    attempt = make_attempt(["sleep", "100"]).start()
    attempt.wait_for("executed")
    write_durably(attempt.directory.stop, content)

    assert attempt.ask("stop")["stop"] is None
    assert is_alive(attempt.trainer())


def test_a_cancel_outranks_a_pause_and_nothing_outranks_a_cancel(make_attempt):
    code = """
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        report(kind="hello", can_save=True)
        time.sleep(100)
        """
    limits = Limits(checkpoint_seconds=1, grace_seconds=0.3)
    attempt = make_attempt(reporting(code), reports=True, limits=limits).start()
    attempt.wait_for("reported")
    attempt.stop("paused")
    attempt.wait_for("stop", step="ask")
    attempt.stop("cancelled")
    with open(attempt.run.control) as file:
        asked = json.load(file)["stop"]
    attempt.stop("paused")
    record = attempt.exit()

    assert asked == "cancelled"
    assert record.stop == "cancelled"


def test_a_stop_that_comes_after_the_end_was_not_sent(make_attempt):
    attempt = make_attempt(["sh", "-c", "sleep 300 & exit 0"]).start()
    attempt.wait_for("exited")
    attempt.stop("cancelled")
    record = attempt.exit()

    assert (record.exit_code, record.stop_sent, record.stop_step) == (0, False, None)


def test_a_cancel_that_races_with_the_end_leaves_one_true_record(make_attempt):
    seen = set()
    for step in range(12):
        attempt = make_attempt(["sleep", "0.2"]).start()
        at = attempt.wait_for("executed")["t"] + 0.19 + step * 0.002
        wait_until(lambda at=at: time.clock_gettime(time.CLOCK_BOOTTIME) >= at)
        attempt.stop("cancelled")
        record = attempt.exit()
        seen.add((record.exit_code, record.signal, record.stop_sent))

    assert seen <= {(0, None, False), (None, signal.SIGTERM, True)}


def test_the_supervisor_says_what_it_sees(make_attempt):
    attempt = make_attempt(["sleep", "100"]).start()
    attempt.wait_for("executed")
    seen = attempt.ask("inspect")

    assert seen["pid"] in (attempt.trainer().pid, attempt.supervisor().pid)
    assert (seen["phase"], seen["watched_by"], seen["executed"]) == ("training", "exit", True)
    assert seen["nonce"] == attempt.nonce
    assert set(attempt.vitals()) == {
        "t", "phase", "watched_by", "suspect", "heartbeat_at", "progress_at", "stop", "stop_step", "pid",
        "reported", "executed", "bad_lines",
    }  # fmt: skip


def call(attempt) -> socket.socket:
    """Connect to the supervisor."""
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(5)
    directory = os.open(attempt.directory.root, os.O_RDONLY)
    try:
        peer.connect(wire.address(directory))
    finally:
        os.close(directory)
    return peer


@pytest.mark.parametrize("message", [{"verb": "stop", "nonce": "other"}, {"verb": "stop"}, {"nonce": "other"}, {}])
def test_a_peer_that_means_another_attempt_moves_nothing(make_attempt, message):
    attempt = make_attempt(["sleep", "100"]).start()
    attempt.wait_for("executed")
    with call(attempt) as peer:
        peer.sendall(wire.encode(message) + b"no json\n")
        answers = [json.loads(line) for line in peer.makefile("rb").readlines(200)]

    assert ["error" in answer for answer in answers] == [True] * len(answers)
    assert answers[0]["protocol"] == PROTOCOL


def test_a_verb_that_is_not_known_is_answered_so(make_attempt):
    attempt = make_attempt(["sleep", "100"]).start()
    attempt.wait_for("executed")

    assert attempt.ask("sing")["error"] == "There is no verb 'sing'"


def test_peers_that_hang_up_or_flood_are_dropped_and_others_served(make_attempt):
    attempt = make_attempt(["sleep", "100"]).start()
    attempt.wait_for("executed")
    peers = []
    for number in range(40):
        peers.append(call(attempt))
        if number % 2:
            try:
                peers[-1].sendall(b"x" * 100_000)
            except OSError:
                continue
    answer = attempt.ask("hello")
    descriptors = os.listdir(f"/proc/{attempt.supervisor().pid}/fd")
    for peer in peers:
        peer.close()

    assert answer["nonce"] == attempt.nonce
    assert len(descriptors) < MOST_PEERS + 16
    assert attempt.diagnostics == ""
    assert attempt.ask("hello") is not None


def test_steps_follow_each_other_within_their_bounds():
    stop = Stop(Limits(checkpoint_seconds=10, grace_seconds=3))
    nothing = stop.next_step(0, can_ask=True, saving_at=None)
    stop.request(StopKind.PAUSED)
    steps = []
    for now in (0, 9, 10, 12, 13, 14):
        step = stop.next_step(now, can_ask=True, saving_at=None)
        if step is not StopStep.WAIT:
            stop.take(step, now)
        steps.append(step)

    assert nothing is StopStep.WAIT
    assert steps == ["ask", "wait", "terminate", "wait", "kill", "wait"]


def test_a_request_that_changes_nothing_says_so():
    stop = Stop(Limits())

    assert stop.request(StopKind.PAUSED)
    assert not stop.request(StopKind.STALLED, 5)
    assert stop.request(StopKind.CANCELLED)
    assert not stop.request(StopKind.PAUSED)
    assert (stop.kind, stop.limit) == (StopKind.CANCELLED, 0)


def test_a_killed_trainer_is_not_mistaken_for_a_stopped_one(make_attempt):
    attempt = make_attempt(python("import time; time.sleep(100)")).start()
    attempt.wait_for("executed")
    send_signal(attempt.trainer(), signal.SIGTERM)
    record = attempt.exit()

    assert (record.signal, record.stop, record.stop_sent) == (signal.SIGTERM, None, False)
