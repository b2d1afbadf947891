"""The kernel's memory kills are known by a count, never guessed from a signal."""

import os
import signal

import pytest

from stoker.rundir.identity import read_proc, send_signal
from stoker.rundir.records import read_process
from stoker.supervisor.containment import Containment, MemoryWitness, own_group
from tests.supervisor.attempts import python
from tests.waiting import wait_until

GREEDY = """
    import os, time
    while not os.path.exists(os.environ["STOKER_RUN_DIR"] + "/go"):
        time.sleep(0.01)
    {fork}
    blocks = [b"x" * (1 << 20) for _ in range(400)]
    """
LIMIT = b"33554432"


def limits_memory() -> bool:
    """Tell whether this machine lets us limit the memory of a version 1 group that we make."""
    legacy = own_group("cgroup", b"memory")
    return legacy is not None and os.access(os.path.join(legacy, "cgroup.procs"), os.W_OK)


def test_a_signal_alone_is_no_memory_kill(make_attempt):
    attempt = make_attempt(["sleep", "100"]).start()
    attempt.wait_for("executed")
    send_signal(attempt.trainer(), signal.SIGKILL)
    record = attempt.exit()

    assert (record.signal, record.out_of_memory) == (signal.SIGKILL, False)


def test_without_a_count_of_its_own_nothing_is_claimed(monkeypatch):
    monkeypatch.setattr("stoker.supervisor.containment.own_group", lambda kind, controller=b"": None)
    contained = Containment("none", "auto")
    contained.make()

    assert contained.witness is None
    assert not contained.saw_memory_kill()


def test_only_kills_since_the_start_count(tmp_path):
    counter = tmp_path / "memory.events"
    counter.write_text("low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    witness = MemoryWitness(str(counter))
    before = witness.saw_kill()
    counter.write_text("low 0\noom 3\noom_kill 3\noom_group_kill 0\n")

    assert (before, witness.saw_kill()) == (False, True)


if limits_memory():

    @pytest.mark.parametrize(
        ("fork", "code", "told"),
        [
            ("", None, True),
            ("if os.fork(): os.wait(); os._exit(1)", 1, True),
            ("if os.fork(): os.wait(); os._exit(0)", 0, False),
        ],
        ids=["main", "child", "child that was no loss"],
    )
    def test_a_memory_kill_of_any_process_is_told_if_the_job_did_not_get_over_it(make_attempt, fork, code, told):
        attempt = make_attempt(python(GREEDY.format(fork=fork))).start()
        attempt.wait_for("executed")
        group = read_process(attempt.directory.trainer).memory_group
        wait_until(lambda: read_proc(f"{attempt.trainer().pid}/cgroup").count(os.path.basename(group).encode()) == 2)
        with open(os.path.join(group, "memory.limit_in_bytes"), "wb") as file:
            file.write(LIMIT)
        with open(attempt.run.path("go"), "w"):
            pass
        record = attempt.exit()

        assert (record.exit_code, record.out_of_memory) == (code, told)
        wait_until(lambda: not os.path.exists(group), 5.0)
