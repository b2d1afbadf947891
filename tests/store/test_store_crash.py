"""The store under a kill, a full disk, a foreign lock and damage."""

import random
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from given_store import new, now, queued, running, wait_until
from sqlalchemy.exc import IntegrityError

from stoker.domain.errors import HomeUnusable, StorageFull, Unavailable
from stoker.domain.states import JobState
from stoker.store import sqlite
from stoker.store.sql import open_store

HERE = Path(__file__).parent


def write_until_killed(url, run, count):
    """Let a process write until `count` things are acknowledged, kill it, and give all that it had acknowledged."""
    command = [sys.executable, str(HERE / "submitter.py"), url, run]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        lines = [writer.stdout.readline() for _ in range(count)]
        writer.kill()
        rest = writer.stdout.read()
    return [line.split() for line in lines + rest.splitlines(keepends=True) if line.endswith("\n")]


def test_everything_acknowledged_is_there_after_each_of_many_kills(url):
    draw = random.Random(7)
    acknowledged = []
    for run in range(6):
        acknowledged += write_until_killed(url, f"run{run}", draw.randint(1, 40))
    store = open_store(url)

    assert sqlite.check(Path(url)) == []
    for what, job_id in acknowledged:
        job = now(store, job_id)
        assert what == "job" or job.state is JobState.RUNNING
        assert what != "metrics" or len(store.metrics(f"{job_id}/1")) == 20
        assert [event.version for event in store.events(job_id)] == list(range(1, job.version + 1))
    rows = store.feed(0, limit=1_000_000)
    assert [row.id for row in rows] == list(range(1, len(rows) + 1))
    store.close()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.3)


def test_a_foreign_lock_makes_writes_unavailable_and_nothing_worse(impatient, url):
    store = open_store(url)
    queued(store)
    with closing(sqlite3.connect(url, isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"):
            queued(store, "second")
        assert now(store).id == "job"
        foreign.execute("ROLLBACK")

    assert queued(store, "second").sequence == 2
    store.close()


def test_a_lock_that_goes_in_time_is_only_a_wait(url):
    store = open_store(url)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    begun = time.monotonic()
    job = queued(store)
    waited = time.monotonic() - begun
    holder.communicate()

    assert job.id == "job"
    assert waited > 0.2
    store.close()


HOLD = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(0.5)
connection.execute("ROLLBACK")
"""


def test_a_store_that_is_locked_at_its_start_says_so(impatient, url):
    open_store(url).close()
    with closing(sqlite3.connect(url, isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable):
            open_store(url)


FILL = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from given_store import new, queued, now
from stoker.domain.errors import StorageFull
from stoker.store.sql import open_store
store = open_store(sys.argv[1])
queued(store)
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
try:
    for number in range(1000):
        made = queued(store, f"filler-{number}")
except StorageFull as error:
    print("full", number, flush=True)
assert store.job(f"filler-{number}") is None
assert store.job(f"filler-{number - 1}") is not None
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
job = queued(store, f"filler-{number}")
assert now(store, job.id) == job
assert [row.id for row in store.feed(0)] == list(range(1, number + 3))
store.close()
print("recovered")
"""


def test_a_file_that_may_not_grow_is_storage_full_and_the_store_goes_on_after(url):
    done = subprocess.run(
        [sys.executable, "-c", FILL, url, str(HERE)], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.stderr == ""
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["full", "recovered"]
    assert sqlite.check(Path(url)) == []


@pytest.fixture
def tiny_disk(tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk needs rights that this user lacks")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_is_storage_full_and_the_store_goes_on_after(tiny_disk):
    store = open_store(tiny_disk / "stoker.db")
    queued(store)
    filler = tiny_disk / "filler"
    filler.write_bytes(bytes(500_000))
    made = []
    with pytest.raises(StorageFull, match="full"):
        made.extend(queued(store, f"job-{number}").id for number in range(10_000))
    newest, refused = store.job(f"job-{len(made) - 1}"), store.job(f"job-{len(made)}")
    filler.unlink()

    assert newest is not None
    assert refused is None
    assert queued(store, f"job-{len(made)}").sequence == len(made) + 2
    store.close()
    assert sqlite.check(tiny_disk / "stoker.db") == []


def test_a_damaged_file_is_refused_with_words(tmp_path):
    path = tmp_path / "stoker.db"
    path.write_bytes(b"this is no database at all, and long enough to be sure of it" * 100)

    with pytest.raises(HomeUnusable, match="no database"):
        open_store(path)
    assert sqlite.check(path) != []


def test_damage_met_while_reading_is_told_as_such(url):
    store = open_store(url)
    for number in range(300):
        queued(store, f"job-{number}", name="x" * 500)
    store.close()
    data = bytearray(Path(url).read_bytes())
    data[8192 : len(data) - 8192] = b"\xa5" * (len(data) - 16384)
    Path(url).write_bytes(data)

    with pytest.raises(HomeUnusable, match="damaged"):  # noqa: PT012 - it may be met at the opening or later
        broken = open_store(url)
        try:
            broken.queue(1000)
        finally:
            broken.close()
    assert sqlite.check(Path(url)) != []


def test_a_read_that_finds_every_connection_lent_is_told_so_in_time(url, monkeypatch):
    store = open_store(url)
    queued(store)
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.2)
    with ExitStack() as lent:
        for _ in range(sqlite.READERS):
            lent.enter_context(store._database.read())
        with pytest.raises(Unavailable, match="in use"):
            store.ping()

    store.ping()
    store.close()


def test_a_write_that_waits_too_long_for_another_is_told_so(impatient, url):
    store = open_store(url)
    with store._write(), ThreadPoolExecutor(1) as other:
        refused = other.submit(queued, store).exception(timeout=10)

    assert isinstance(refused, Unavailable)
    assert queued(store).id == "job"
    store.close()


def test_a_mistake_in_a_statement_is_not_taken_for_trouble_with_the_disk(store):
    queued(store)

    with pytest.raises(IntegrityError), store._write() as tx:
        tx.connection.exec_driver_sql("UPDATE jobs SET owner = NULL")
    assert now(store).owner == "ada"
    assert sqlite.understand(ValueError("no error of a database"), Path("x")) is None


def test_a_failed_write_leaves_nothing_behind_and_the_next_one_works(store):
    def break_off():
        with store._write() as tx:
            tx.advance("submit", 100)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    with pytest.raises(OverflowError):
        store.submit(new(priority=2**70))

    assert queued(store).sequence == 1


def test_readers_can_not_write_and_never_checkpoint(store):
    with store._database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA query_only").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar() == 0
    with pytest.raises(StorageFull), store._database.read() as connection:  # its descriptor is read-only
        connection.exec_driver_sql("PRAGMA wal_checkpoint").all()
    with store._database.write() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_the_log_of_writes_does_not_grow_without_bound(url, monkeypatch):
    store = open_store(url)
    epoch = store.acquire_term("this server")
    running(store, epoch)
    log = Path(f"{url}-wal")
    for number in range(800):
        store.set_priority("job", number + 1, 5.0)

    assert log.stat().st_size < 10_000_000
    store.close()
    wait_until(lambda: not log.exists())
