"""What the local engine does beyond what every engine must."""

import os
import stat
import sys

import pytest

from stoker.engines import spawn
from stoker.engines.inotify import Inotify
from stoker.engines.local import LocalEngine
from stoker.engines.news import LocalNews
from stoker.engines.port import Finding, News
from stoker.rundir import claim
from stoker.rundir.identity import identify, read_proc, read_stat
from stoker.rundir.layout import AttemptDir
from stoker.rundir.records import ExitRecord, ProcessRecord, encode_sealed
from tests.engines.given_engine import LocalBench, write_record
from tests.waiting import wait_until


@pytest.fixture
def bench(tmp_path):
    made = LocalBench(tmp_path)
    yield made
    made.close()


@pytest.fixture
def laid_out(bench):
    """Give an attempt that is whole and that no supervisor has taken."""
    plan = bench.plan(("sleep", "1000"))
    bench.lay_out(plan)
    return bench.directory(plan.attempt_id)


def find(bench, attempt):
    return bench.engine.find(os.path.basename(attempt.root), {})


# The directory


def test_an_attempts_directory_is_its_owners_alone(bench, laid_out):
    assert stat.S_IMODE(os.stat(bench.folder).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(laid_out.root).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(laid_out.run).st_mode) == 0o700
    assert sorted(os.listdir(laid_out.root)) == ["run", "spec.json"]


def test_a_watched_attempt_has_one_channel_that_reads_its_order_once(bench, laid_out):
    attempt_id = os.path.basename(laid_out.root)
    bench.engine.watch(attempt_id)
    watched = bench.engine.channel(attempt_id)
    order = watched.order()
    bench.engine.unwatch(attempt_id)

    assert bench.engine.channel(attempt_id) is not watched
    bench.engine.watch(attempt_id)
    assert bench.engine.channel(attempt_id) is bench.engine.channel(attempt_id)
    assert order is watched.order()


def test_a_launch_that_fails_leaves_nothing(bench, monkeypatch):
    plan = bench.plan(("true",), files={"config.json": b"{}"})

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stoker.engines.local.write_durably", full)
    with pytest.raises(OSError, match="No space left"):
        bench.engine.launch(plan)

    assert os.listdir(bench.folder) == []
    assert bench.engine.find(plan.attempt_id, {}) is Finding.ABSENT


def test_what_a_crash_left_of_a_launch_is_replaced(bench):
    plan = bench.plan(("true",))
    half = bench.folder / f".new-{plan.attempt_id}" / "run"
    half.mkdir(parents=True)
    (half / "rest").touch()
    bench.engine.launch(plan)
    bench.end_of(plan.attempt_id)

    assert not os.path.exists(os.path.join(plan.directory, "run", "rest"))
    assert os.listdir(bench.folder) == [plan.attempt_id]


# Finding


def test_a_supervisor_that_starts_between_two_looks_is_never_called_dead(bench, laid_out, monkeypatch):
    plain, held = claim.is_locked, []

    def look_then_start(attempt):
        found = plain(attempt)
        held.append(claim.take_lock(attempt))
        assert claim.claim_as_supervisor(attempt)
        return found

    monkeypatch.setattr(claim, "is_locked", look_then_start)

    assert find(bench, laid_out) is Finding.UNCLAIMED
    os.close(held[0])


def test_an_end_that_is_written_between_two_looks_is_an_end(bench, laid_out, monkeypatch):
    claim.claim_as_supervisor(laid_out)
    record = encode_sealed(ExitRecord(nonce="n", at=1.0, exit_code=0))
    plain = claim.is_locked

    def end_then_look(attempt):
        with open(attempt.exit, "wb") as file:
            file.write(record)
        return plain(attempt)

    monkeypatch.setattr(claim, "is_locked", end_then_look)

    assert find(bench, laid_out) is Finding.ENDED


def test_a_holder_that_dies_while_it_is_greeted_is_dead(bench, laid_out, monkeypatch):
    claim.claim_as_supervisor(laid_out)
    held = claim.take_lock(laid_out)

    def die(*_, **__):
        os.close(held)

    monkeypatch.setattr("stoker.engines.local.wire.ask", die)

    assert find(bench, laid_out) is Finding.DEAD


def test_a_locked_attempt_whose_order_can_not_be_read_is_unresponsive_at_worst(bench, laid_out):
    os.truncate(laid_out.order, 5)
    held = claim.take_lock(laid_out)

    assert find(bench, laid_out) is Finding.UNRESPONSIVE
    os.close(held)
    assert bench.engine.clean_up(os.path.basename(laid_out.root)) == ()


def test_a_supervisor_of_an_earlier_boot_is_told_by_its_own_record(bench, laid_out):
    attempt_id = os.path.basename(laid_out.root)
    write_record(bench, attempt_id, "supervisor.json", ProcessRecord(boot="earlier", pid=1, start=1, nonce="n"))

    assert find(bench, laid_out) is Finding.REBOOTED


def test_a_stranger_with_the_supervisors_number_is_left_alone(bench, laid_out):
    me = identify(os.getpid())
    attempt_id = os.path.basename(laid_out.root)
    write_record(
        bench, attempt_id, "supervisor.json", ProcessRecord(boot=me.boot, pid=me.pid, start=me.start - 1, nonce="n")
    )
    bench.engine.end_supervisor(attempt_id)

    assert read_stat(os.getpid()).is_alive


# The supervisor's own life


def test_a_supervisor_has_nothing_of_the_server_that_could_end_it(bench, monkeypatch):
    monkeypatch.setenv("STOKER_SECRET_OF_THE_SERVER", "hush")
    attempt_id, _ = bench.launch(("sleep", "1000"))
    pid = bench.supervisor(attempt_id).pid
    fields = read_proc(f"{pid}/stat").rsplit(b")", 1)[1].split()
    session = int(fields[3])

    assert read_stat(pid).parent != os.getpid()
    assert session == os.getsid(pid) != os.getsid(0)
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert b"hush" not in read_proc(f"{pid}/environ")
    assert not [name for name in open_files(pid) if str(bench.folder.parent) in name and attempt_id not in name]


def open_files(pid):
    """List what the descriptors of a process lead to."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
        except FileNotFoundError:
            continue
    return found


def test_no_zombie_and_no_descriptor_is_left_of_a_launch(bench):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        attempt_id, _ = bench.launch(("true",))
        bench.end_of(attempt_id)
    wait_until(lambda: bench.engine.news() == News() and not bench.engine._starting)

    assert len(os.listdir("/proc/self/fd")) == before


def test_without_systemd_a_supervisor_is_started_as_it_is(monkeypatch):
    monkeypatch.delenv("INVOCATION_ID", raising=False)
    argv = spawn.supervisor_argv("/a/b", "b")

    assert argv[0] == sys.executable
    assert argv[-1] == "/a/b"
    assert spawn.scope_prefix("b") == ()


@pytest.mark.parametrize(("uid", "user"), [(0, ()), (1000, ("--user",))])
def test_under_systemd_each_supervisor_has_a_scope_of_its_own(monkeypatch, tmp_path, uid, user):
    runner = tmp_path / "systemd-run"
    runner.write_text("#!/bin/sh\n")
    runner.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("INVOCATION_ID", "x")
    monkeypatch.setattr(spawn, "SYSTEMD", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: uid)

    assert spawn.scope_prefix("a-1") == (
        str(runner),
        *user,
        "--scope",
        "--quiet",
        "--collect",
        "--unit=stoker-a-1",
        "--",
    )


def test_an_attempt_starts_without_a_scope_where_systemd_refuses_one(bench, monkeypatch, tmp_path):
    runner = tmp_path / "systemd-run"
    runner.write_text("#!/bin/sh\nexit 1\n")
    runner.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("INVOCATION_ID", "x")
    monkeypatch.setattr(spawn, "SYSTEMD", str(tmp_path))
    plan = bench.plan(("true",))
    bench.engine.launch(plan)
    wait_until(lambda: bench.engine.news() and bench.engine.channel(plan.attempt_id).exit())

    assert plan.argv[0] == str(runner)
    assert bench.engine.channel(plan.attempt_id).exit().exit_code == 0


# News


@pytest.fixture
def news():
    opened = LocalNews()
    yield opened
    opened.close()


def make_attempt(folder, name):
    attempt = AttemptDir(str(folder / name))
    os.makedirs(attempt.run)
    return attempt


def test_when_the_kernel_lost_count_every_attempt_is_news(news, tmp_path):
    attempts = {name: make_attempt(tmp_path, name) for name in ("noisy", "silent")}
    for name, attempt in attempts.items():
        news.watch(name, attempt)
    with open("/proc/sys/fs/inotify/max_queued_events") as file:
        most = int(file.read())
    files = [os.open(attempts["noisy"].path(name), os.O_WRONLY | os.O_CREAT) for name in ("a", "b")]
    for _ in range(most // 2 + 100):
        for descriptor in files:  # two in turn: equal events in a row are one
            os.pwrite(descriptor, b"x", 0)
    changed = set()
    while found := news.take().changed:
        changed |= found
    for descriptor in files:
        os.close(descriptor)

    assert changed == {"noisy", "silent"}
    assert news.take() == News()


def test_what_changes_all_the_time_is_no_news(news, tmp_path):
    attempt = make_attempt(tmp_path, "a")
    news.watch("a", attempt)
    for name in ("seen", "lock"):
        with open(attempt.path(name), "w") as file:
            file.write("x")

    assert news.take() == News()


@pytest.mark.parametrize(
    "name", ["journal.jsonl", "exit.json", "vitals", "log.0.0", "run/metrics.jsonl", "run/progress.json"]
)
def test_records_and_reports_are_news(news, tmp_path, name):
    attempt = make_attempt(tmp_path, "a")
    news.watch("a", attempt)
    with open(attempt.path(name), "w") as file:
        file.write("x")

    assert news.take() == News(frozenset({"a"}))
    assert news.take() == News()


def test_a_file_that_is_moved_into_place_is_news(news, tmp_path):
    attempt = make_attempt(tmp_path, "a")
    (tmp_path / "new").touch()
    news.watch("a", attempt)
    os.rename(tmp_path / "new", attempt.exit)

    assert news.take().changed == {"a"}


def test_folders_that_go_while_they_are_watched_harm_nothing(news, tmp_path):
    attempt = make_attempt(tmp_path, "a")
    news.watch("a", attempt)
    os.rmdir(attempt.run)
    os.rmdir(attempt.root)
    news.take()
    news.unwatch("a")

    assert news.take() == News()


def test_a_death_is_told_once_and_only_of_what_is_watched(news, tmp_path):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    who = identify(pid)
    os.waitpid(pid, 0)
    news.watch_process("never watched", who)
    news.watch("a", make_attempt(tmp_path, "a"))
    news.watch_process("a", who)
    news.watch_process("a", who)

    assert news.take().died == {"a"}
    assert news.take().died == frozenset()


def test_a_process_is_forgotten_with_its_attempt(news, tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    news.watch("a", make_attempt(tmp_path, "a"))
    news.watch_process("a", identify(os.getpid()))
    news.unwatch("a")

    assert len(os.listdir("/proc/self/fd")) == before


def test_a_watched_process_holds_no_descriptor_after_the_close(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    opened = LocalNews()
    opened.watch("a", make_attempt(tmp_path, "a"))
    opened.watch_process("a", identify(os.getpid()))
    opened.close()

    assert len(os.listdir("/proc/self/fd")) == before


def test_inotify_says_what_is_wrong(tmp_path):
    inotify = Inotify()
    with pytest.raises(FileNotFoundError):
        inotify.add(str(tmp_path / "nowhere"))
    inotify.remove(12345)

    assert inotify.read() == []
    inotify.close()


def test_names_of_files_may_hold_any_bytes(tmp_path):
    inotify = Inotify()
    watch = inotify.add(str(tmp_path))
    name = b"caf\xe9 \n x"
    os.close(os.open(os.path.join(os.fsencode(tmp_path), name), os.O_CREAT | os.O_WRONLY))
    (notice,) = inotify.read()

    assert (notice.watch, os.fsencode(notice.name)) == (watch, name)
    inotify.close()


def test_an_engine_makes_its_folder_and_takes_one_that_is_there(tmp_path):
    folder = tmp_path / "deep" / "attempts"
    for _ in range(2):
        LocalEngine(folder).close()

    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
