"""How an attempt ends: exit codes, signals, programs that can't run, and what the exit record says of it."""

import errno
import json
import os
import shutil
import signal
import time

import pytest

from stoker.domain.limits import Limits
from stoker.domain.outcome import End, conclude
from stoker.domain.states import JobState
from stoker.domain.stop import StopKind
from stoker.rundir.identity import is_alive, read_stat, send_signal
from stoker.rundir.records import ExitRecord, Survivor, encode_sealed, read_exit
from stoker.supervisor import ending
from stoker.supervisor.tree import children
from tests.supervisor.attempts import processor_seconds, python
from tests.waiting import wait_until


def conclusion(record):
    """Give what the job becomes, as the server decides it."""
    return conclude(
        End(
            exit_code=record.exit_code,
            signal=record.signal,
            stop=StopKind(record.stop) if record.stop else None,
            stop_sent=record.stop_sent,
            stop_limit=record.stop_limit,
            launch_error=record.launch_error,
            out_of_memory=record.out_of_memory,
        )
    )


@pytest.mark.parametrize("code", [0, 1, 75, 70, 255])
def test_the_exit_code_is_kept(make_attempt, code):
    record = make_attempt(["sh", "-c", f"exit {code}"]).result()

    assert (record.exit_code, record.signal, record.executed) == (code, None, True)
    assert record.survivors == ()
    assert not record.stop_sent


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGABRT])
def test_the_signal_that_ended_the_main_process_is_kept(make_attempt, number):
    record = make_attempt(["sh", "-c", f"ulimit -c 0; kill -{number.value} $$"]).result()

    assert (record.exit_code, record.signal) == (None, number)
    assert conclusion(record).state is JobState.FAILED


def test_a_killed_main_process_is_known_to_be_dead_at_once(make_attempt):
    attempt = make_attempt(["sleep", "60"]).start()
    attempt.wait_for("executed")
    send_signal(attempt.trainer(), signal.SIGKILL)
    began_at = time.monotonic()
    record = attempt.exit()
    seconds = time.monotonic() - began_at

    assert record.signal == signal.SIGKILL
    assert seconds < 1.0
    assert conclusion(record).error.startswith("The training process was killed by SIGKILL")


def test_the_log_holds_all_that_was_written(make_attempt):
    record = make_attempt(["sh", "-c", "echo out; echo err >&2; printf end"]).result()

    assert record.log_bytes == len(b"out\nerr\nend")


def test_a_program_that_is_not_there_is_named(make_attempt):
    record = make_attempt(["no-such-trainer", "--now"]).result()

    assert record.launch_error.startswith("The program no-such-trainer was not found")
    assert (record.executed, record.exit_code, record.signal) == (False, None, None)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "was not found"),
        (lambda path: path.write_text("#!/no/such/interpreter\n"), "was not found"),
        (lambda path: (path.write_text("#!/bin/sh\n"), path.chmod(0o600)), "may not be executed"),
        (lambda path: (path.write_bytes(b"\x00\x01"), path.chmod(0o700)), "can't be executed"),
    ],
    ids=["missing", "interpreter", "permission", "format"],
)
def test_a_program_that_can_not_run_is_explained(make_attempt, tmp_path, make, said):
    program = tmp_path / "train"
    make(program)
    if program.exists() and "no/such" in program.read_text(errors="replace"):
        program.chmod(0o700)
    record = make_attempt([str(program)]).result()

    assert said in record.launch_error
    assert str(program) in record.launch_error


def test_a_working_directory_that_is_not_there_is_named(make_attempt, tmp_path):
    record = make_attempt(["true"], cwd=str(tmp_path / "gone")).result()

    assert "working directory" in record.launch_error
    assert str(tmp_path / "gone") in record.launch_error


def test_arguments_that_are_too_long_are_explained(make_attempt):
    record = make_attempt(["true", "x" * (1 << 20)]).result()

    assert "too long" in record.launch_error


def test_the_trainers_own_outcome_is_handed_on(make_attempt):
    code = """
        import json, os
        with open(os.environ["STOKER_RUN_DIR"] + "/outcome.json", "w") as file:
            json.dump({"outcome": "completed", "step": 5}, file)
        """
    record = make_attempt(python(code)).result()

    assert record.outcome == {"outcome": "completed", "step": 5}


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\x00", b'{"a": ' * 100_000, b"x" * (1 << 20)])
def test_an_outcome_that_can_not_be_understood_is_passed_over(make_attempt, content):
    attempt = make_attempt(["true"])
    with open(attempt.run.outcome, "wb") as file:
        file.write(content)

    assert attempt.result().outcome == {}


def test_an_outcome_that_is_too_long_is_cut_to_what_fits(make_attempt):
    attempt = make_attempt(["true"])
    with open(attempt.run.outcome, "w") as file:
        json.dump({"outcome": "failed", "error": "é" * 20_000, "more": ["x"] * 9000, "reason": "nan"}, file)
    outcome = attempt.result().outcome

    assert (outcome["outcome"], outcome["reason"]) == ("failed", "nan")
    assert set(outcome["error"]) == {"é"}
    assert "more" not in outcome


def test_a_child_that_outlives_the_main_process_is_ended_first(make_attempt, containment):
    attempt = make_attempt(["sh", "-c", "sleep 300 & echo $!"], containment=containment)
    record = attempt.result()

    assert record.exit_code == 0
    assert not record.stop_sent
    assert attempt.marked() == []
    assert record.milliseconds < 5000


def test_a_child_that_outlives_the_main_process_may_end_by_itself(make_attempt):
    child = "trap 'echo saved; exit' TERM; echo ready; while :; do sleep 0.05; done"
    attempt = make_attempt(["sh", "-c", f"({child}) & sleep 0.3"])
    record = attempt.result()

    assert record.exit_code == 0
    assert b"saved" in attempt.log()


def test_a_grandchild_that_keeps_the_output_open_does_not_hold_up_the_end(make_attempt):
    code = """
        import os, signal
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.pause()
        """
    began_at = time.monotonic()
    record = make_attempt(python(code), limits=Limits(grace_seconds=0.2)).result()

    assert record.exit_code == 0
    assert time.monotonic() - began_at < 5


def test_the_exit_record_is_written_into_space_set_aside(make_attempt):
    attempt = make_attempt(["sleep", "60"]).start()
    attempt.wait_for("executed")
    slot = os.stat(attempt.directory.exit_slot)
    attempt.stop("cancelled")
    attempt.exit()

    assert slot.st_blocks * 512 >= 4096
    assert os.stat(attempt.directory.exit).st_ino == slot.st_ino
    assert not os.path.exists(attempt.directory.exit_slot)


def test_an_exit_record_that_is_torn_anywhere_is_no_exit_record(make_attempt):
    attempt = make_attempt(["true"])
    attempt.result()
    with open(attempt.directory.exit, "rb") as file:
        whole = file.read()
    torn = []
    for length in range(len(whole) - 1):
        with open(attempt.directory.exit, "wb") as file:
            file.write(whole[:length])
        torn.append(read_exit(attempt.directory.exit))

    assert torn == [None] * (len(whole) - 1)


def test_the_supervisor_leaves_when_the_end_was_taken_in(make_attempt):
    attempt = make_attempt(["sleep", "0.2"]).start()
    wait_until(lambda: attempt.ask("hello"))
    attempt.exit()
    supervisor = attempt.supervisor()
    stayed = is_alive(supervisor)
    answer = attempt.ask("ack")

    assert stayed
    assert answer["acknowledged"] is True
    wait_until(lambda: not is_alive(supervisor), 1.0)
    assert not os.path.exists(attempt.directory.socket)


def test_a_supervisor_that_waits_to_be_dismissed_is_idle(make_attempt):
    attempt = make_attempt(["sleep", "0.2"]).start()
    wait_until(lambda: attempt.ask("hello"))
    attempt.exit()
    pid, began_at = attempt.supervisor().pid, time.monotonic()
    before = processor_seconds(pid)
    wait_until(lambda: time.monotonic() > began_at + 1)

    assert processor_seconds(pid) - before < 0.3
    assert attempt.ask("ack")["acknowledged"]


def test_the_supervisor_leaves_at_once_where_no_server_was_heard_of(make_attempt):
    attempt = make_attempt(["true"])
    attempt.result()

    wait_until(lambda: not is_alive(attempt.supervisor()), 1.0)


def test_an_exit_record_that_the_disk_will_not_take_is_tried_again(make_attempt, monkeypatch):
    attempt = make_attempt(["true"])
    write, fails = ending.write_exit, [OSError(errno.ENOSPC, "full"), OSError(errno.EIO, "broken")]

    def failing(*args):
        if fails:
            raise fails.pop()
        write(*args)

    monkeypatch.setattr(ending, "write_exit", failing)
    ending.set_aside(attempt.directory)
    ended = ending.Ending(attempt.directory, ExitRecord(nonce=attempt.nonce, at=1.0, exit_code=3), [])
    tries = []
    for now in (0.0, 0.1, 0.6, 1.2):
        ended.write(now)
        tries.append(ended.is_written)

    assert tries == [False, False, False, True]
    assert read_exit(attempt.directory.exit).exit_code == 3


def test_an_attempt_whose_directory_was_removed_is_killed_and_left(make_attempt, containment):
    limits = Limits(grace_seconds=100)
    attempt = make_attempt(["sh", "-c", "sleep 300 & sleep 300"], limits=limits, containment=containment).start()
    attempt.wait_for("executed")
    supervisor, trainer = attempt.supervisor(), attempt.trainer()
    shutil.rmtree(attempt.directory.root)

    wait_until(lambda: not is_alive(supervisor), 10.0)
    assert not is_alive(trainer)
    assert attempt.marked() == []


def test_an_exit_record_is_given_up_only_where_its_directory_is_gone(make_attempt, tmp_path):
    attempt = make_attempt(["true"])
    moved = str(tmp_path / "moved")
    record = ExitRecord(nonce=attempt.nonce, at=1.0, exit_code=3)
    os.mkdir(attempt.directory.exit_slot)  # which can't be written
    kept = ending.Ending(attempt.directory, record, [])
    kept.write(0.0)
    os.rename(attempt.directory.root, moved)
    lost = ending.Ending(attempt.directory, record, [])
    lost.write(0.0)
    os.rename(moved, attempt.directory.root)

    assert (kept.is_over, kept.is_lost) == (False, False)
    assert (lost.is_over, lost.is_written) == (True, False)


def test_evidence_that_can_not_be_made_durable_does_not_keep_the_end_from_being_told(make_attempt):
    attempt = make_attempt(["true"])
    os.mkfifo(attempt.run.metrics)
    record = attempt.result()

    assert record.exit_code == 0


def test_the_largest_exit_record_fits_into_the_space_set_aside(make_attempt):
    attempt = make_attempt(["true"])
    with open(attempt.run.outcome, "w") as file:
        json.dump({f"key {number}": "\U0001f525" * 500 for number in range(100)}, file)
    survivors = tuple(Survivor(pid=2**22, start=2**40, name="x" * 15, state="D") for _ in range(ending.MOST_SURVIVORS))
    record = ExitRecord(nonce=attempt.nonce, at=1.0, survivors=survivors, outcome=ending.read_outcome(attempt.run))

    assert len(encode_sealed(record)) < ending.SLOT_BYTES


def test_a_process_whose_first_thread_ended_is_not_taken_for_dead(make_attempt):
    code = """
        import ctypes, threading, time
        threading.Thread(target=time.sleep, args=(100,)).start()
        print("ready", flush=True)
        ctypes.CDLL(None).pthread_exit(None)
        """
    attempt = make_attempt(python(code), limits=Limits(grace_seconds=20)).start()
    attempt.wait_for_log(b"ready")
    trainer = attempt.trainer()
    wait_until(lambda: read_stat(trainer.pid).state == "Z")
    alive = is_alive(trainer)
    attempt.stop("cancelled")
    record = attempt.exit(10)

    assert alive
    assert record.signal == signal.SIGTERM


def test_zombies_are_reaped_while_the_job_runs(make_attempt):
    code = """
        import os, time
        for _ in range(50):
            if os.fork() == 0:
                if os.fork() == 0:
                    os._exit(0)
                os._exit(0)
            os.wait()
        print("done", flush=True)
        time.sleep(100)
        """
    attempt = make_attempt(python(code)).start()
    attempt.wait_for_log(b"done")

    wait_until(lambda: children(attempt.supervisor().pid) == [attempt.trainer().pid], 5.0)
