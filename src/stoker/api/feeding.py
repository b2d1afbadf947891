"""Reading the feed for streams: in parts that are bounded, off the event loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stoker.api.frames import render
from stoker.domain.actor import Actor
from stoker.domain.events import FeedItem
from stoker.service.context import Context

ROWS_AT_ONCE = 500
PART_BYTES = 256 << 10
"""A part of the feed ends when its events are larger than this together."""

Wants = Callable[[FeedItem], bool]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows a stream shows: of jobs that its actor may see, of these jobs and kinds (empty: of all)."""

    actor: Actor
    jobs: frozenset[str]
    kinds: frozenset[str]

    def wants(self, item: FeedItem) -> bool:
        """Tell whether a row belongs to the stream."""
        return (
            self.actor.sees(item.owner)
            and (not self.jobs or item.job_id in self.jobs)
            and (not self.kinds or item.kind.value in self.kinds)
        )


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the feed: the events that are wanted, and how far it goes.

    With `is_broken` rows are missing before it: they were dropped, or never were.
    """

    frames: tuple[bytes, ...]
    position: int
    is_end: bool = False
    is_broken: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """What one pass of the broadcaster found: the feed's new head, and each stream's events in the given order."""

    frames: tuple[tuple[bytes, ...], ...]
    position: int
    is_end: bool


class FeedReader:
    """Reads the feed. Every call blocks."""

    def __init__(self, context: Context) -> None:
        """Take what rows and what they point at are read from."""
        self._context = context

    def newest(self) -> int:
        """Give the id of the newest row."""
        return self._context.store.feed_bounds()[1]

    def can_resume(self, after: int) -> bool:
        """Tell whether everything after this id is still there, and the id was ever given out."""
        oldest, newest = self._context.store.feed_bounds()
        return oldest - 1 <= after <= newest

    def part(self, after: int, wants: Wants) -> Part:
        """Read the rows after an id for one stream."""
        rows = self._context.store.feed(after, ROWS_AT_ONCE)
        if rows and rows[0].id != after + 1:
            return Part((), after, is_broken=True)
        frames: list[bytes] = []
        room = PART_BYTES
        for row in rows:
            if wants(row):
                frames.append(render(self._context, row))
                room -= len(frames[-1])
            after = row.id
            if room <= 0:
                return Part(tuple(frames), after)
        return Part(tuple(frames), after, is_end=len(rows) < ROWS_AT_ONCE)

    def share(self, after: int, wants: tuple[Wants, ...]) -> Share:
        """Read the rows after an id once for many streams."""
        rows = self._context.store.feed(after, ROWS_AT_ONCE)
        frames: tuple[list[bytes], ...] = tuple([] for _ in wants)
        for row in rows:
            takers = [taken for taken, is_wanted in zip(frames, wants, strict=True) if is_wanted(row)]
            event = render(self._context, row) if takers else b""
            for taken in takers:
                taken.append(event)
        position = rows[-1].id if rows else after
        return Share(tuple(map(tuple, frames)), position, is_end=len(rows) < ROWS_AT_ONCE)
