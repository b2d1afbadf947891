"""Every schema that was ever released opens, a newer one is refused, and the tables are what the code believes."""

import re
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from given_store import SPEC, attempt, new, now
from sqlalchemy import Executable, create_engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql import ClauseElement

from stoker.domain.errors import HomeUnusable, IdTaken
from stoker.domain.states import JobState
from stoker.domain.stop import StopKind
from stoker.store import attempts, feed, intake, keys, listing, moves, submits, transaction
from stoker.store.port import JobQuery
from stoker.store.schema import metadata
from stoker.store.sql import open_store

FIXTURES = Path(__file__).parent / "fixtures"


def tables(path):
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE '%alembic%'").fetchall()
    return {name: re.sub(r"\s+", " ", sql or "") for name, sql in found}


def test_the_migrations_make_exactly_the_tables_that_the_code_believes(tmp_path):
    open_store(tmp_path / "migrated.db").close()
    engine = create_engine(f"sqlite:///{tmp_path / 'made.db'}")
    metadata.create_all(engine)
    engine.dispose()

    assert tables(tmp_path / "migrated.db") == tables(tmp_path / "made.db")


@pytest.fixture
def old(tmp_path, request):
    copy = tmp_path / "stoker.db"
    shutil.copy(FIXTURES / f"{request.param}.db", copy)
    copy.chmod(0o600)
    return open_store(copy)


@pytest.mark.parametrize("old", ["schema_0001"], indirect=True)
def test_a_database_of_each_released_schema_opens_and_reads_whole(old):
    jobs = {job.id: job for job, _ in old.jobs(JobQuery()).jobs}

    assert {job_id: job.state for job_id, job in jobs.items()} == {
        "waiting": JobState.QUEUED,
        "training": JobState.RUNNING,
        "done": JobState.COMPLETED,
        "broken": JobState.FAILED,
        "resting": JobState.PAUSED,
        "unwanted": JobState.CANCELLED,
    }
    assert jobs["waiting"].spec == SPEC
    assert jobs["training"].stop.kind is StopKind.PAUSED
    assert (jobs["broken"].reason, jobs["broken"].exit_code) == ("exited", 3)
    assert len(old.metrics("training/1")) == 20
    assert old.attempts("training")[0].progress == {"step": 19, "loss": 0.05}
    for job_id, job in jobs.items():
        assert [event.version for event in old.events(job_id)] == list(range(1, job.version + 1))
    rows = old.feed(0)
    assert [row.id for row in rows] == list(range(1, rows[-1].id + 1))
    assert old.find_key("sk-old").owner == "ada"
    assert old.home_id() == "0123456789abcdef0123456789abcdef"
    old.close()


@pytest.mark.parametrize("old", ["schema_0001"], indirect=True)
def test_a_database_of_each_released_schema_goes_on_where_it_was(old):
    before = old.feed_bounds()[1]
    epoch = old.acquire_term("new server")
    old.adopt("training/1", "new server", epoch, 100.0)
    job, _ = old.submit(new("fresh"))
    assert old.open_attempt(attempt("waiting"), epoch) is not None
    with pytest.raises(IdTaken):
        old.submit(new("deleted"))

    assert epoch == 2
    assert job.sequence == 8
    assert old.feed_bounds()[1] == before + 2
    assert now(old, "training").epoch == 2
    old.close()


def test_a_database_of_a_newer_schema_is_refused_and_left_alone(url):
    open_store(url).close()
    with closing(sqlite3.connect(url)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    before = Path(url).read_bytes()

    with pytest.raises(HomeUnusable, match="newer Stoker"):
        open_store(url)
    assert Path(url).read_bytes() == before


def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (cake TEXT)")
        connection.commit()

    with pytest.raises(HomeUnusable, match="something else"):
        open_store(path)
    assert list(tables(path)) == ["recipes"]


def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "stoker.db"
    monkeypatch.setattr("stoker.store.migrate._name_home", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        open_store(path)

    assert tables(path) == {}
    monkeypatch.undo()
    store = open_store(path)
    store.ping()
    store.close()


def test_a_store_keeps_its_home_id(url):
    store = open_store(url)
    home_id = store.home_id()
    store.close()
    again = open_store(url)

    assert again.home_id() == home_id
    again.close()


def test_the_database_is_for_its_owner_alone(url):
    store = open_store(url)
    for name in (url, f"{url}-wal", f"{url}-shm"):
        assert stat.S_IMODE(Path(name).stat().st_mode) == 0o600
    store.close()


def test_a_url_names_a_path_and_other_databases_are_refused(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/with %25 and ?.db")
    store.close()

    assert (tmp_path / "with %25 and ?.db").exists()
    for url in ("postgresql://host/db", "sqlite://", "sqlite:///", "mysql://x"):
        with pytest.raises(HomeUnusable, match="Give sqlite:///"):
            open_store(url)


def test_a_folder_that_is_not_there_or_a_folder_in_its_place_is_told(tmp_path):
    (tmp_path / "stoker.db").mkdir()

    for path in (tmp_path / "missing" / "stoker.db", tmp_path / "stoker.db"):
        with pytest.raises(HomeUnusable, match="can't be"):
            open_store(path)


def test_every_table_and_statement_is_written_so_that_postgresql_understands_it():
    dialect = postgresql.dialect()
    for table in metadata.sorted_tables:
        str(CreateTable(table).compile(dialect=dialect))
    found = [
        value
        for module in (attempts, feed, intake, keys, listing, moves, submits, transaction)
        for value in vars(module).values()
        if isinstance(value, Executable) and isinstance(value, ClauseElement)
    ]
    written = [str(statement.compile(dialect=dialect)) for statement in found]

    assert len(written) > 40
    assert any("FOR UPDATE" in text for text in written)
