"""SQLite: one writer that also does every checkpoint, a few read-only readers, and its errors in our words.

SQLite before 3.51.3 can lose committed transactions when two connections write or checkpoint a write-ahead log at
the same instant. Here only the writer ever does either: the readers are opened read-only and never checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from stoker.domain.errors import HomeUnusable, StokerError, StorageFull, Unavailable
from stoker.rundir.durable import fsync_dir
from stoker.store.migrate import migrate
from stoker.store.mounts import refuse_network_home

BUSY_SECONDS = 5.0
"""How long a write waits for another writer, and a read for a free connection, before it is `Unavailable`."""

READERS = 4

_WRITER_PRAGMAS = (
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA wal_autocheckpoint=1000",
    "PRAGMA journal_size_limit=67108864",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-8192",
)
_READER_PRAGMAS = ("PRAGMA query_only=ON", "PRAGMA wal_autocheckpoint=0", "PRAGMA temp_store=MEMORY")


_PRIMARY = 0xFF  # the low byte of a result code is its kind, the rest the detail
_MEANINGS: dict[int, tuple[type[StokerError], str]] = {
    sqlite3.SQLITE_BUSY: (Unavailable, "Another process holds the database {path} locked. Try again"),
    sqlite3.SQLITE_LOCKED: (Unavailable, "The database {path} is locked. Try again"),
    sqlite3.SQLITE_FULL: (StorageFull, "The disk of {path} is full. Free some space; nothing was changed"),
    sqlite3.SQLITE_IOERR: (Unavailable, "The disk of {path} reported an error. Look at the kernel's log"),
    sqlite3.SQLITE_IOERR_WRITE: (StorageFull, "{path} can't be written: a quota or a size limit is reached"),
    sqlite3.SQLITE_IOERR_SHMSIZE: (StorageFull, "The disk of {path} is full. Free some space; nothing was changed"),
    sqlite3.SQLITE_CORRUPT: (HomeUnusable, "The database {path} is damaged. Restore it from a backup"),
    sqlite3.SQLITE_NOTADB: (HomeUnusable, "{path} is no database. Restore it from a backup, or use another --home"),
    sqlite3.SQLITE_READONLY: (HomeUnusable, "The database {path} can't be written. Check its rights and its disk"),
    sqlite3.SQLITE_CANTOPEN: (HomeUnusable, "The database {path} can't be opened. Check its rights and its disk"),
    sqlite3.SQLITE_PERM: (HomeUnusable, "The database {path} can't be opened. Check its rights and its disk"),
}


class SqliteDatabase:
    """A database file, opened by this process alone."""

    def __init__(self, path: Path) -> None:
        """Open the file, made if it is not there (mode 0600), and bring its schema up to date.

        Raises `HomeUnusable` if it lies on a network, is damaged, is no database of Stoker or is of a newer one.
        """
        refuse_network_home(path.parent)
        self.path = path
        self._lock = Lock()
        self._is_closed = False
        self._idle: SimpleQueue[Connection] = SimpleQueue()
        self._readers = 0
        _make_private(path)
        self._writer = _engine(path, "rw", _WRITER_PRAGMAS).connect()
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        with self._understood():
            mode = self._writer.exec_driver_sql("PRAGMA journal_mode=WAL").scalar()
        if mode != "wal":
            raise HomeUnusable(f"The file system of {self.path} can't hold a write-ahead log. Use a local --home")
        with self.write() as connection:
            migrate(connection, str(self.path))
        readers = _engine(self.path, "ro", _READER_PRAGMAS)
        for _ in range(READERS):
            self._idle.put(readers.connect())
            self._readers += 1

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Lend a reader. Every statement is a transaction of its own and sees the last commit."""
        connection = self._take_reader()
        try:
            yield connection
        except DBAPIError as error:
            raise self._understand(error) from error
        finally:
            self._idle.put(connection)

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """Lend the writer, within a transaction that holds the write lock from its beginning."""
        if not self._lock.acquire(timeout=BUSY_SECONDS):
            raise Unavailable("The database is busy with other writes. Try again")
        try:
            if self._is_closed:
                raise Unavailable("The store is closed")
            with self._understood(), _immediate(self._writer):
                yield self._writer
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the readers first, so that the writer is the one that does the last checkpoint."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            for _ in range(self._readers):
                with contextlib.suppress(Empty):
                    self._idle.get(timeout=BUSY_SECONDS).close()
            self._writer.close()

    def _take_reader(self) -> Connection:
        if self._is_closed:
            raise Unavailable("The store is closed")
        try:
            return self._idle.get(timeout=BUSY_SECONDS)
        except Empty:
            raise Unavailable("Every connection to the database is in use. Try again") from None

    @contextlib.contextmanager
    def _understood(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self._understand(error) from error

    def _understand(self, error: DBAPIError) -> Exception:
        return understand(error.orig, self.path) or error


@contextlib.contextmanager
def _immediate(connection: Connection) -> Iterator[None]:
    """Take the write lock at once: a transaction that reads first and writes then would fail without waiting."""
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield
        connection.commit()
    finally:
        connection.rollback()


def understand(error: object, path: Path) -> StokerError | None:
    """Give what an error of SQLite means to a caller; None for one that is a mistake in this package."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    found = _MEANINGS.get(code) or _MEANINGS.get(code & _PRIMARY)
    if found is None:
        return None
    kind, sentence = found
    return kind(sentence.format(path=path))


def check(path: Path) -> list[str]:
    """Read the whole file for damage; an empty list is good news. Takes seconds per gigabyte."""
    with contextlib.closing(sqlite3.connect(_uri(path, "ro"), uri=True, timeout=BUSY_SECONDS)) as connection:
        try:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
        except sqlite3.DatabaseError as error:
            return [str(error)]
    return [] if found == ["ok"] else found


def _engine(path: Path, mode: str, pragmas: tuple[str, ...]) -> Engine:
    def connect() -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                _uri(path, mode), uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            for pragma in pragmas:
                connection.execute(pragma)
        except sqlite3.Error as error:
            raise understand(error, path) or error from error
        return connection

    return create_engine("sqlite://", creator=connect, poolclass=NullPool, isolation_level="AUTOCOMMIT")


def _uri(path: Path, mode: str) -> str:
    return f"file:{quote(str(path))}?mode={mode}"


def _make_private(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise HomeUnusable(f"The database {path} can't be made: {error.strerror}") from error
    os.close(descriptor)
    fsync_dir(str(path.parent))
