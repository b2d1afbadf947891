"""What a dead supervisor leaves behind is found and ended, and nothing else is touched."""

import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import replace

import pytest

from stoker.domain.limits import Limits
from stoker.rundir.durable import write_durably
from stoker.rundir.identity import MARK, ProcessId, boot_id, is_alive, read_stat, send_signal
from stoker.rundir.layout import AttemptDir
from stoker.rundir.records import ProcessRecord, encode, read_exit, read_process
from stoker.supervisor.containment import Containment, Group
from stoker.supervisor.sweep import Sweep, end_leftovers
from stoker.supervisor.tree import Seen, Tree, children, descendants
from tests.supervisor.attempts import PYTHON
from tests.supervisor.conftest import CONTAINMENTS
from tests.supervisor.test_unruly import HOPPERS, REPETITIONS, hoppers, living
from tests.supervisor.unruly import UNRULY
from tests.waiting import wait_until

__all__ = ["hoppers"]


def remembered(attempt) -> dict[int, int]:
    """Give what the supervisor wrote down of its tree."""
    return dict(Seen(attempt.directory.seen)._starts)


@pytest.mark.parametrize("repetition", REPETITIONS)
def test_the_tree_of_a_killed_supervisor_is_ended(make_attempt, containment, repetition):
    tag = f"left-{os.getpid()}-{containment}-{repetition}"
    attempt = make_attempt([*PYTHON, UNRULY + f"# {tag}\n", tag], containment=containment).start()
    attempt.wait_for_log(b"ready")
    wait_until(lambda: len(remembered(attempt)) >= 5)
    attempt.kill_supervisor()
    before = living(tag)
    survivors = end_leftovers(attempt.directory, attempt.nonce, 10.0)

    assert len(before) >= 4
    assert survivors == ()
    assert living(tag) == []
    assert attempt.marked() == []
    assert read_exit(attempt.directory.exit) is None


if "cgroup" in CONTAINMENTS:

    @pytest.mark.parametrize("hopper", HOPPERS)
    def test_even_a_hopping_chain_with_a_cleared_environment_is_ended_in_its_group(make_attempt, hoppers, hopper):
        tag = f"hop-{os.getpid()}-{hopper}"
        argv = [*PYTHON, UNRULY + f"# {tag}\n", *hoppers[hopper], tag]
        attempt = make_attempt(argv, containment="cgroup").start()
        attempt.wait_for_log(b"ready")
        attempt.kill_supervisor()
        survivors = end_leftovers(attempt.directory, attempt.nonce, 10.0)

        assert survivors == ()
        assert living(tag) == []
        assert not os.path.exists(read_process(attempt.directory.trainer).cgroup)


@pytest.mark.parametrize("repetition", REPETITIONS)
def test_a_hopping_chain_that_keeps_the_mark_is_ended_without_a_group(make_attempt, hoppers, repetition):
    tag = f"marked-{os.getpid()}-{repetition}"
    attempt = make_attempt([*hoppers["python"], tag], containment="sweep").start()
    attempt.wait_for("exited")
    attempt.kill_supervisor()
    end_leftovers(attempt.directory, attempt.nonce, 20.0)

    assert living(tag) == []


def test_leftovers_end_whenever_the_supervisor_was_killed(make_attempt, containment):
    left = []
    for step in range(10):
        tag = f"any-{os.getpid()}-{containment}-{step}"
        attempt = make_attempt([*PYTHON, UNRULY + f"# {tag}\n", tag], containment=containment, limits=QUICK).start()
        attempt.wait_for_log(b"ready")
        attempt.wait_for("started")
        wait_until(lambda a=attempt: len(remembered(a)) >= 5)
        attempt.stop("cancelled")
        time.sleep(step * 0.03)  # where it dies is what varies here
        if read_exit(attempt.directory.exit) is None:
            attempt.kill_supervisor()
        end_leftovers(attempt.directory, attempt.nonce, 10.0)
        left += living(tag)

    assert left == []


QUICK = Limits(grace_seconds=0.1)


def test_ending_leftovers_twice_is_harmless(make_attempt):
    attempt = make_attempt(["sleep", "100"]).start()
    attempt.wait_for("executed")
    attempt.kill_supervisor()

    assert end_leftovers(attempt.directory, attempt.nonce) == ()
    assert end_leftovers(attempt.directory, attempt.nonce) == ()


def test_an_attempt_without_any_record_has_no_leftovers(tmp_path):
    assert end_leftovers(AttemptDir(str(tmp_path)), str(uuid.uuid4())) == ()


@pytest.fixture
def stranger():
    """Give a process that has nothing to do with any attempt."""
    process = subprocess.Popen(["sleep", "100"])
    yield process
    process.kill()
    process.wait()


def test_a_process_that_took_over_a_number_is_not_touched(tmp_path, stranger):
    attempt = AttemptDir(str(tmp_path))
    start = read_stat(stranger.pid).start
    record = ProcessRecord(boot=boot_id(), pid=stranger.pid, start=start - 1, nonce="n")
    write_durably(attempt.trainer, encode(record))
    write_durably(attempt.seen, f"{boot_id()}\n{stranger.pid} {start - 1}\n".encode())

    assert end_leftovers(attempt, str(uuid.uuid4())) == ()
    assert stranger.poll() is None


def test_nothing_is_signalled_after_a_reboot(tmp_path, stranger):
    attempt = AttemptDir(str(tmp_path))
    start = read_stat(stranger.pid).start
    record = ProcessRecord(boot="another-boot", pid=stranger.pid, start=start, nonce="n")
    write_durably(attempt.trainer, encode(record))
    write_durably(attempt.seen, f"another-boot\n{stranger.pid} {start}\n".encode())

    assert end_leftovers(attempt, str(uuid.uuid4())) == ()
    assert stranger.poll() is None


def test_processes_of_another_attempt_are_not_touched(make_attempt):
    one, other = (make_attempt(["sleep", "100"]).start() for _ in range(2))
    for attempt in (one, other):
        attempt.wait_for("executed")
    one.kill_supervisor()
    end_leftovers(one.directory, one.nonce)

    assert is_alive(other.trainer())
    assert is_alive(other.supervisor())


def test_a_marked_process_that_nobody_remembered_is_ended(tmp_path):
    nonce = str(uuid.uuid4())
    process = subprocess.Popen(["sleep", "100"], env={**os.environ, MARK: nonce})
    later = subprocess.Popen(["true"])  # so that it is not among the newest
    later.wait()
    survivors = end_leftovers(AttemptDir(str(tmp_path)), nonce, 10.0)

    assert survivors == ()
    assert process.wait(5) == -signal.SIGKILL


def test_a_strike_reaches_only_the_process_that_was_found(stranger):
    stat = read_stat(stranger.pid)
    earlier = type(stat)(stat.pid, stat.name, stat.state, stat.parent, stat.start - 1)
    Tree("nonce", Seen("/nonexistent/seen"), None, adopts=False).strike({stat.pid: earlier}, signal.SIGKILL)

    assert stranger.poll() is None


def test_what_was_seen_before_a_reboot_is_forgotten(tmp_path):
    own = read_stat(os.getpid())
    (tmp_path / "seen").write_text(f"another-boot\n{own.pid} {own.start}\n")

    assert Seen(str(tmp_path / "seen")).living() == {}


def test_a_mark_that_only_begins_alike_is_another_mark(stranger):
    nonce = str(uuid.uuid4())
    environment = {**os.environ, MARK: nonce + "0"}
    process = subprocess.Popen(["sleep", "100"], env=environment)
    try:
        found = Tree(nonce, Seen("/nonexistent/seen"), None, adopts=False).search()
    finally:
        process.kill()
        process.wait()

    assert found == {}


def test_a_torn_memory_is_read_as_far_as_it_is_whole(tmp_path):
    path = tmp_path / "seen"
    own = read_stat(os.getpid())
    path.write_text(f"{boot_id()}\n{own.pid} {own.start}\nnonsense\n12 34 56\n99")
    seen = Seen(str(path))

    assert list(seen.living()) == [own.pid]


def test_the_memory_of_processes_stays_small(tmp_path):
    path = tmp_path / "seen"
    seen = Seen(str(path))
    stat = read_stat(os.getpid())
    for number in range(20_000):
        seen.add([type(stat)(number + 10_000_000, "x", "S", 1, number)])
        if number % 1000 == 0:
            seen.living()
    seen.add([stat])

    assert path.stat().st_size < 300_000
    assert os.getpid() in Seen(str(path)).living()


def test_a_full_disk_does_not_end_the_memory(tmp_path):
    seen = Seen(str(tmp_path / "none" / "seen"))
    seen.add([read_stat(os.getpid())])

    assert os.getpid() in seen.living()


class Immortal:
    """Signals nothing, as if the kernel would not let the process die."""

    def __init__(self) -> None:
        self.sent = []

    def __call__(self, who: ProcessId, number: int) -> bool:
        self.sent.append((who.pid, number))
        return True


def test_what_will_not_die_is_named_after_the_bound(tmp_path, stranger):
    seen = Seen(str(tmp_path / "seen"))
    stat = read_stat(stranger.pid)
    seen.add([stat])
    immortal = Immortal()
    sweep = Sweep(Tree(str(uuid.uuid4()), seen, None, adopts=False, send=immortal), 0.2, lambda: False)
    began_at = time.monotonic()
    survivors = wait_until(sweep.step, 5.0)

    assert 0.2 <= time.monotonic() - began_at < 1.0
    assert [(s.pid, s.start, s.name) for s in survivors] == [(stranger.pid, stat.start, "sleep")]
    assert survivors[0].state in "RSD"
    assert (stranger.pid, signal.SIGKILL) in immortal.sent


def test_an_attempt_with_a_survivor_ends_with_its_name_in_the_record(make_attempt):
    attempt = make_attempt(["sleep", "100"], limits=Limits(grace_seconds=0.1), containment="sweep")
    code = f"""
from stoker.supervisor import startup
class Powerless(startup.Supervisor):
    def __init__(self, attempt, order, containment):
        super().__init__(attempt, order, containment, unkillable_seconds=0.3)
        self._tree._send = lambda who, number: True
startup.Supervisor = Powerless
startup.supervise({attempt.directory.root!r})
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        attempt.wait_for("executed")
        attempt.stop("cancelled")
        record = attempt.exit()
    finally:
        process.kill()
        process.wait()

    assert [survivor.name for survivor in record.survivors] == ["sleep"]
    assert (record.exit_code, record.signal, record.stop_step) == (None, None, "kill")


def test_a_tree_never_finds_its_owner_or_the_first_process():
    found = descendants([read_stat(1), read_stat(os.getpid())], {0, 1, os.getpid()})

    assert found == {}


def test_children_are_found_with_their_own(stranger):
    shell = subprocess.Popen(["sh", "-c", "sleep 100 & wait"])
    try:
        inner = wait_until(lambda: children(shell.pid))
        found = descendants([read_stat(shell.pid)], set())
    finally:
        for pid in [*inner, shell.pid]:
            os.kill(pid, signal.SIGKILL)
        shell.wait()

    assert set(found) == {shell.pid, *inner}
    assert stranger.pid in children(os.getpid())


def test_a_stranger_that_took_over_the_number_of_a_listed_child_is_not_found(monkeypatch, stranger):
    with subprocess.Popen(["sleep", "100"]) as parent:
        monkeypatch.setattr("stoker.supervisor.tree.children", lambda pid: [stranger.pid] if pid == parent.pid else [])
        found = descendants([read_stat(parent.pid)], set())
        parent.kill()

    assert set(found) == {parent.pid}


def test_the_children_of_a_stranger_that_took_over_a_number_are_not_found(stranger):
    own = read_stat(os.getpid())
    earlier = replace(own, start=own.start - 1)

    assert stranger.pid not in descendants([earlier], set())
    assert stranger.pid in descendants([own], set())


def test_a_stranger_that_took_over_the_number_of_a_marked_process_is_not_found(monkeypatch, stranger):
    stat = read_stat(stranger.pid)
    looks = iter([replace(stat, start=stat.start - 1)])
    monkeypatch.setattr("stoker.supervisor.tree.all_pids", lambda: [stranger.pid])
    monkeypatch.setattr("stoker.supervisor.tree.read_stat", lambda pid: next(looks, stat))
    monkeypatch.setattr("stoker.supervisor.tree.carries_mark", lambda pid, mark: True)

    assert Tree("nonce", Seen("/nonexistent/seen"), None, adopts=False).search() == {}


def test_a_stranger_that_took_over_the_number_of_a_member_of_the_group_is_not_found(monkeypatch, stranger):
    listings = iter([[stranger.pid], []])
    monkeypatch.setattr(Group, "members", lambda group: next(listings))

    assert Tree("nonce", Seen("/nonexistent/seen"), Group("/nonexistent"), adopts=False).near() == {}


def test_a_process_that_hangs_in_the_kernel_is_not_asked_for_its_environment(monkeypatch, stranger):
    nonce = str(uuid.uuid4())
    asked = []
    stat = read_stat(stranger.pid)
    hangs = type(stat)(stat.pid, stat.name, "D", stat.parent, stat.start)
    monkeypatch.setattr("stoker.supervisor.tree.all_pids", lambda: [stranger.pid])
    monkeypatch.setattr("stoker.supervisor.tree.read_stat", lambda pid: hangs)
    monkeypatch.setattr("stoker.supervisor.tree.carries_mark", lambda pid, mark: asked.append(pid))
    Tree(nonce, Seen("/nonexistent/seen"), None, adopts=False).search()

    assert asked == []


if "cgroup" in CONTAINMENTS:

    def test_a_group_knows_and_kills_what_is_in_it_and_below(tmp_path):
        contained = Containment(f"test-{uuid.uuid4()}", "cgroup")
        contained.make()
        group = contained.group
        inner = os.path.join(group.path, "inner")
        os.mkdir(inner)
        process = subprocess.Popen(["sleep", "100"])
        Group(inner).add(process.pid)
        members, populated = group.members(), group.is_populated()
        group.kill()
        process.wait()
        wait_until(lambda: not group.is_populated())
        contained.remove()

        assert (members, populated) == ([process.pid], True)
        assert not os.path.exists(group.path)
        assert not group.is_populated()
        assert group.members() == []


def test_signalling_a_process_that_is_gone_says_so():
    process = subprocess.Popen(["true"])
    stat = wait_until(lambda: read_stat(process.pid))
    process.wait()

    assert not send_signal(ProcessId(boot_id(), process.pid, stat.start), signal.SIGTERM)
