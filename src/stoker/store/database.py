"""What differs between databases: how connections are had, how a write begins, what an error means."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy import Connection


class Database(Protocol):
    """One open database with the newest schema. Safe for any number of threads.

    Errors of the driver leave as `Unavailable`, `StorageFull` or `HomeUnusable`; after each the database goes on.
    """

    def read(self) -> AbstractContextManager[Connection]:
        """Lend a connection for statements that only read; each sees the last commit. Results must be read whole."""

    def write(self) -> AbstractContextManager[Connection]:
        """Lend a connection within a transaction that commits at the end of the block, durably, or changes nothing.

        The transaction reads what was committed last and no other writer comes in between (on a database with many
        writers: in the rows that it selected for update).
        """

    def close(self) -> None:
        """Close every connection, once those in use have come back. May be called twice."""
