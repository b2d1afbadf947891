"""The feed: what watchers follow, and how far back it goes."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, func, select

from stoker.domain.events import FeedItem
from stoker.store.codec import FEED_COLUMNS, decode_feed
from stoker.store.schema import feed
from stoker.store.transaction import Transaction

ROWS_AT_ONCE = 10_000
"""How many rows one transaction of a prune drops; a few milliseconds."""

_AFTER = select(*FEED_COLUMNS).where(feed.c.id > bindparam("after")).order_by(feed.c.id).limit(bindparam("limit"))
_BOUNDS = select(
    select(func.min(feed.c.id)).scalar_subquery(), select(func.max(feed.c.id)).scalar_subquery()
)  # apart, because SQLite finds each at an end of the index only when it is asked for one
_DROP = delete(feed).where(feed.c.id < bindparam("below"))


def after(connection: Connection, number: int, limit: int) -> list[FeedItem]:
    """See `Store.feed`."""
    return [decode_feed(row) for row in connection.execute(_AFTER, {"after": number, "limit": limit}).all()]


def bounds(connection: Connection) -> tuple[int, int]:
    """See `Store.feed_bounds`."""
    oldest, newest = connection.execute(_BOUNDS).one()
    return oldest or 0, newest or 0


def prune(tx: Transaction, keep: int) -> int:
    """Drop some of the oldest rows; 0 once no more than `keep` remain."""
    oldest, newest = bounds(tx.connection)
    below = min(newest - max(keep, 1) + 1, oldest + ROWS_AT_ONCE)
    if oldest == 0 or below <= oldest:
        return 0
    return tx.connection.execute(_DROP, {"below": below}).rowcount
