"""One write: its connection, what it tells the feed, and the terms and counters that guard it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from stoker.domain.events import FeedKind
from stoker.store.codec import encode_json
from stoker.store.schema import counters, feed

_COUNTER = select(counters.c.value).where(counters.c.name == bindparam("counter")).with_for_update()
_ADVANCE = (
    update(counters)
    .where(counters.c.name == bindparam("counter"))
    .values(value=counters.c.value + bindparam("by"))
    .returning(counters.c.value)
)
_TERM = select(counters.c.value).where(counters.c.name == "term").with_for_update(read=True)
_FEED = insert(feed)


class Transaction:
    """A write under way. What it tells the feed goes in last, so that ids are drawn in the order of the commits."""

    def __init__(self, connection: Connection) -> None:
        """Take the connection, within a transaction already."""
        self.connection = connection
        self._told: list[dict[str, Any]] = []

    def tell(self, kind: FeedKind, job: tuple[str, str], at: float, data: Mapping[str, object]) -> None:
        """Add a row to the feed; `job` is its id and its owner."""
        job_id, owner = job
        self._told.append({"job_id": job_id, "owner": owner, "kind": kind.value, "at": at, "data": encode_json(data)})

    def hold(self, counter: str) -> int:
        """Read a counter and keep others from it until the end of the transaction."""
        return int(self.connection.execute(_COUNTER, {"counter": counter}).scalar_one())

    def advance(self, counter: str, by: int = 1) -> int:
        """Advance a counter and give its new value."""
        return int(self.connection.execute(_ADVANCE, {"counter": counter, "by": by}).scalar_one())

    def is_of_term(self, epoch: int) -> bool:
        """Tell whether no later term than `epoch` has begun. Asked before any row is held: one order, no deadlock."""
        return int(self.connection.execute(_TERM).scalar_one()) == epoch

    def write_feed(self) -> bool:
        """Write what was told, with ids drawn now; tell whether there was anything."""
        if not self._told:
            return False
        first = self.advance("feed", len(self._told)) - len(self._told) + 1
        self.connection.execute(_FEED, [{"id": first + i, **row} for i, row in enumerate(self._told)])
        return True
