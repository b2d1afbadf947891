"""Evidence of a hang is there before the kill, and looking for it harms nobody."""

import os
import signal
import stat
import time

from stoker.domain.limits import Limits
from stoker.rundir.claim import is_locked
from stoker.rundir.identity import send_signal
from tests.supervisor.test_watching import reporting
from tests.waiting import wait_until

STALL = Limits(stall_seconds=0.5, grace_seconds=0.3)


def stacks(attempt) -> str:
    """Give what was dumped."""
    with open(attempt.directory.stacks, errors="replace") as file:
        return file.read()


def test_every_process_of_a_hung_job_is_in_the_dump(make_attempt):
    code = """
        import subprocess
        child = subprocess.Popen(["sleep", "123"])
        report(kind="step", step=1)
        child.wait()
        """
    attempt = make_attempt(reporting(code), limits=STALL)
    record = attempt.result()
    text = stacks(attempt)

    assert record.stop == "stalled"
    assert text.count("=== process") == 2
    assert f"=== process {attempt.trainer().pid} (python" in text
    assert "sleep 123" in text
    assert "wchan" in text
    assert "syscall" in text
    assert attempt.notes("stacks")[0]["processes"] == 2
    assert attempt.notes("stacks")[0]["seq"] < attempt.notes("stop")[0]["seq"]


def test_a_trainer_that_prepared_for_it_writes_its_python_stacks(make_attempt):
    code = """
        import faulthandler, signal, threading
        file = open(f"{run}/stacks.{os.getpid()}", "w")
        faulthandler.register(signal.SIGUSR1, file=file, all_threads=True)
        def stuck_in_the_loader():
            threading.Event().wait()
        report(kind="step", step=1)
        stuck_in_the_loader()
        """
    attempt = make_attempt(reporting(code), limits=STALL)
    attempt.result()

    assert "faulthandler" in stacks(attempt)
    assert "stuck_in_the_loader" in stacks(attempt)


def test_a_process_that_did_not_prepare_is_never_sent_a_signal_for_it(make_attempt):
    code = """
        import signal
        signal.signal(signal.SIGUSR1, lambda number, frame: print("struck", flush=True))
        report(kind="step", step=1)
        time.sleep(100)
        """
    attempt = make_attempt(reporting(code), limits=STALL)
    record = attempt.result()

    assert record.stop == "stalled"
    assert b"struck" not in attempt.log()


def test_a_stack_file_that_is_a_link_is_no_preparation(make_attempt):
    code = """
        import signal
        signal.signal(signal.SIGUSR1, lambda number, frame: print("struck", flush=True))
        os.symlink("/etc/passwd", f"{run}/stacks.{os.getpid()}")
        report(kind="step", step=1)
        time.sleep(100)
        """
    attempt = make_attempt(reporting(code), limits=STALL)
    attempt.result()

    assert b"struck" not in attempt.log()
    assert "root:" not in stacks(attempt)


def py_spy(folder, script: str) -> str:
    """Make a program that stands in for py-spy."""
    program = folder / "py-spy"
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def test_py_spy_is_asked_where_it_is_there(make_attempt, tmp_path):
    program = py_spy(tmp_path, 'echo "spied: $*"\n')
    attempt = make_attempt(reporting("report(kind='step'); time.sleep(100)"), limits=STALL, py_spy=program)
    attempt.result()

    assert f"spied: dump --pid {attempt.trainer().pid}" in stacks(attempt)


def test_py_spy_that_hangs_or_is_missing_does_not_hold_up_the_end(make_attempt, tmp_path):
    hangs = py_spy(tmp_path, "exec sleep 100\n")
    began_at = time.monotonic()
    slow = make_attempt(reporting("report(kind='step'); time.sleep(100)"), limits=STALL, py_spy=hangs)
    none = make_attempt(reporting("report(kind='step'); time.sleep(100)"), limits=STALL, py_spy="/no/such/py-spy")
    slow.start()
    none.start()

    assert none.exit().stop == slow.exit().stop == "stalled"
    assert time.monotonic() - began_at < 12
    assert "stopped after 3 seconds" in stacks(slow)
    assert "could not be run" in stacks(none)


def test_output_is_taken_and_peers_are_answered_while_stacks_are_dumped(make_attempt, tmp_path):
    code = """
        import threading
        def talk():
            while True:
                print("x" * 200_000, flush=True)
        threading.Thread(target=talk, daemon=True).start()
        report(kind="step")
        time.sleep(100)
        """
    hangs = py_spy(tmp_path, "exec sleep 100\n")
    attempt = make_attempt(
        reporting(code), limits=STALL, py_spy=hangs, log_bytes=4 << 20, segment_bytes=1 << 20
    ).start()
    attempt.wait_for("stacks")
    before = attempt.ask("inspect")["log_bytes"]
    wait_until(lambda: attempt.ask("inspect")["log_bytes"] > before + 1_000_000, 2.5)

    assert attempt.exit().stop == "stalled"


def test_a_trainer_that_ends_while_its_stacks_are_dumped_is_not_waited_for(make_attempt, tmp_path):
    hangs = py_spy(tmp_path, "exec sleep 100\n")
    code = """
        report(kind="step")
        time.sleep(1.5)
        os._exit(4)
        """
    attempt = make_attempt(reporting(code), limits=STALL, py_spy=hangs)
    record = attempt.result()

    assert (record.exit_code, record.stop, record.stop_sent) == (4, "stalled", False)
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and hangs in cmdline(pid)]


def test_a_supervisor_that_dies_while_stacks_are_dumped_frees_its_lock_at_once(make_attempt, tmp_path):
    hangs = py_spy(tmp_path, "exec sleep 100\n")
    attempt = make_attempt(reporting("report(kind='step'); time.sleep(100)"), limits=STALL, py_spy=hangs).start()
    attempt.wait_for("stacks")
    send_signal(attempt.supervisor(), signal.SIGKILL)

    wait_until(lambda: not is_locked(attempt.directory), 1.0)


def cmdline(pid: str) -> str:
    """Give the command line of a process, empty if it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def test_a_dump_that_is_itself_stuck_is_given_up(make_attempt, tmp_path, monkeypatch):
    hangs = py_spy(tmp_path, "exec sleep 100\n")
    code = """
        for _ in range(12):
            if os.fork() == 0:
                time.sleep(100)
        report(kind="step")
        time.sleep(100)
        """
    began_at = time.monotonic()
    attempt = make_attempt(reporting(code), limits=STALL, py_spy=hangs)
    record = attempt.result(40)

    assert record.stop == "stalled"
    assert time.monotonic() - began_at < 20
    assert record.signal in (signal.SIGTERM, signal.SIGKILL)
