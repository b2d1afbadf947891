"""Who a process is, and that a signal never reaches another one."""

import os
import signal
import subprocess
import sys
import time

import pytest

from stoker.rundir import identity
from stoker.rundir.identity import (
    MARK,
    ProcessId,
    all_pids,
    boot_id,
    carries_mark,
    identify,
    is_alive,
    is_same,
    open_pidfd,
    read_proc,
    read_stat,
    send_signal,
)
from tests.waiting import wait_until

LAST_PID = "/proc/sys/kernel/ns_last_pid"


@pytest.fixture
def sleeper():
    """Start a process that only waits, and end it afterwards."""
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def test_a_process_is_known_by_its_boot_number_and_start(sleeper):
    who = identify(sleeper.pid)

    assert who == identify(sleeper.pid)
    assert (who.boot, who.pid) == (boot_id(), sleeper.pid)
    assert is_alive(who)
    assert is_same(who)
    assert read_stat(sleeper.pid).parent == os.getpid()


def test_its_start_is_in_clock_ticks_since_boot():
    ticks = os.sysconf("SC_CLK_TCK")
    started = read_stat(os.getpid()).start / ticks

    assert 0 < started <= time.clock_gettime(time.CLOCK_BOOTTIME) + 1 / ticks


def test_what_is_not_there_has_no_identity():
    free = max(all_pids()) + 1_000_000

    assert identify(free) is None
    assert read_stat(free) is None
    assert open_pidfd(ProcessId(boot_id(), free, 1)) is None
    assert not is_alive(ProcessId(boot_id(), free, 1))
    assert not send_signal(ProcessId(boot_id(), free, 1), signal.SIGKILL)
    assert not carries_mark(free, "x")


@pytest.mark.parametrize("name", ["a) S 1 1", "((((", "))))", ") Z 0 0 (", "two words", "tab\t", "\xff", "new\nline"])
def test_a_name_may_hold_anything(name):
    script = (
        "import ctypes, sys, time\n"
        "ctypes.CDLL(None).prctl(15, sys.argv[1].encode('latin-1'), 0, 0, 0)\n"
        "print('named', flush=True)\n"
        "time.sleep(1000)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, name], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        found = read_stat(process.pid)
    finally:
        process.kill()
        process.communicate()

    assert found.name == name.encode("latin-1")[:15].decode("utf-8", "replace")
    assert (found.parent, found.state in "SRD") == (os.getpid(), True)


def test_a_zombie_is_dead_and_is_still_the_same():
    process = subprocess.Popen(["sleep", "1000"])
    who = identify(process.pid)
    process.kill()
    wait_until(lambda: read_stat(process.pid).state == "Z")

    assert not is_alive(who)
    assert is_same(who)
    process.wait()
    assert not is_same(who)


THREADED = """
import ctypes, os, threading, time
threading.Thread(target=time.sleep, args=(1000,)).start()
print("two", flush=True)
ctypes.CDLL(None).syscall(60, 0)  # ends the first thread alone
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the number of the system call is this machine's")
def test_a_process_whose_first_thread_ended_is_alive_while_others_run():
    process = subprocess.Popen([sys.executable, "-c", THREADED], stdout=subprocess.PIPE)
    process.stdout.readline()
    who = identify(process.pid)
    wait_until(lambda: read_stat(process.pid).state == "Z")
    was_alive = is_alive(who)
    process.kill()
    process.communicate()

    assert was_alive
    assert not is_alive(who)


def test_a_process_of_another_boot_is_dead_and_is_never_signalled(sleeper):
    who = identify(sleeper.pid, boot="an earlier one")

    assert not is_alive(who)
    assert not is_same(who)
    assert not send_signal(who, signal.SIGKILL)
    assert sleeper.poll() is None


def test_a_process_that_took_over_a_number_is_never_signalled(sleeper):
    current = identify(sleeper.pid)
    former = ProcessId(current.boot, current.pid, current.start - 1)

    assert not is_alive(former)
    assert not send_signal(former, signal.SIGKILL)
    assert open_pidfd(former) is None
    assert sleeper.poll() is None


def start_with_number(pid):
    """Start a process that gets just this number."""
    for _ in range(50):
        with open(LAST_PID, "w") as file:
            file.write(str(pid - 1))
        process = subprocess.Popen(["sleep", "1000"])
        if process.pid == pid:
            return process
        process.kill()
        process.wait()
    return None


@pytest.mark.skipif(not os.access(LAST_PID, os.W_OK), reason="only root may choose the next process's number")
def test_a_number_that_really_is_another_process_by_now_is_never_signalled():
    first = subprocess.Popen(["sleep", "1000"])
    who = identify(first.pid)
    first.kill()
    first.wait()
    time.sleep(0.02)  # two clock ticks: starts are told apart by these
    second = start_with_number(who.pid)
    if second is None:
        pytest.skip("the number was taken meanwhile")
    try:
        assert identify(second.pid) != who
        assert not is_alive(who)
        assert not send_signal(who, signal.SIGKILL)
        assert second.poll() is None
    finally:
        second.kill()
        second.wait()


def test_a_number_that_is_taken_over_between_the_look_and_the_signal_is_not_signalled(sleeper, monkeypatch):
    """The descriptor is opened first and compared after: it means one process for ever."""
    current = identify(sleeper.pid)
    opened = []
    plain = os.pidfd_open

    def opening(pid):
        opened.append(plain(pid))
        return opened[-1]

    monkeypatch.setattr(os, "pidfd_open", opening)

    assert not send_signal(ProcessId(current.boot, current.pid, current.start + 1), signal.SIGKILL)
    assert len(opened) == 1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


def test_a_signal_reaches_the_process_that_is_meant(sleeper):
    assert send_signal(identify(sleeper.pid), signal.SIGTERM)
    assert sleeper.wait(5) == -signal.SIGTERM


def test_a_process_that_ends_before_the_signal_is_gone():
    process = subprocess.Popen(["sleep", "1000"])
    who = identify(process.pid)
    descriptor = open_pidfd(who)
    process.kill()
    process.wait()

    assert not send_signal(who, signal.SIGTERM)
    os.close(descriptor)


def test_a_process_that_ends_while_it_is_signalled_is_gone(sleeper, monkeypatch):
    def gone(_descriptor, _number):
        raise ProcessLookupError

    monkeypatch.setattr(signal, "pidfd_send_signal", gone)

    assert not send_signal(identify(sleeper.pid), signal.SIGTERM)


def test_no_descriptor_is_left_open(sleeper):
    before = len(os.listdir("/proc/self/fd"))
    current = identify(sleeper.pid)
    for _ in range(20):
        send_signal(current, 0)
        send_signal(ProcessId(current.boot, current.pid, 1), 0)
        carries_mark(current.pid, "x")

    assert len(os.listdir("/proc/self/fd")) == before


# Marks


def test_a_mark_is_seen_in_the_environment_that_a_process_started_with():
    process = subprocess.Popen(["sleep", "1000"], env={"A": "1", MARK: "nonce-1", "Z": "2"})
    try:
        wait_until(lambda: carries_mark(process.pid, "nonce-1"))

        assert not carries_mark(process.pid, "nonce-10")
        assert not carries_mark(process.pid, "nonce")
    finally:
        process.kill()
        process.wait()


def test_a_mark_within_another_variable_is_none():
    process = subprocess.Popen(["sleep", "1000"], env={"A": f"x {MARK}=n", f"NOT_{MARK}": "n", "B": "1"})
    try:
        wait_until(lambda: b"B=1" in read_proc(f"{process.pid}/environ"))

        assert not carries_mark(process.pid, "n")
    finally:
        process.kill()
        process.wait()


def test_every_process_is_listed():
    assert {1, os.getpid()} <= set(all_pids())


def test_a_large_environment_is_read_whole():
    process = subprocess.Popen(["sleep", "1000"], env={"A": "x" * 100_000, MARK: "last"})
    try:
        wait_until(lambda: carries_mark(process.pid, "last"))
    finally:
        process.kill()
        process.wait()


def test_other_failures_than_a_process_that_is_gone_are_raised(monkeypatch):
    def out_of_files(*_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "open", out_of_files)

    with pytest.raises(OSError, match="Too many"):
        read_stat(os.getpid())


def test_a_process_that_goes_while_it_is_read_is_gone(monkeypatch):
    def gone(*_):
        raise ProcessLookupError

    monkeypatch.setattr(os, "read", gone)

    assert read_stat(os.getpid()) is None
    assert identity.read_proc("self/stat") == b""


def test_a_child_that_dropped_its_rights_is_read_as_far_as_it_lets_us():
    """A process that is not dumpable hides its environment from all but root."""
    script = "import ctypes, time; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); print('x', flush=True); time.sleep(1000)"
    process = subprocess.Popen([sys.executable, "-c", script], env={MARK: "n"}, stdout=subprocess.PIPE)
    try:
        process.stdout.readline()

        assert carries_mark(process.pid, "n") in (True, False)
        assert is_alive(identify(process.pid))
    finally:
        process.kill()
        process.communicate()
