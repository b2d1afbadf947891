"""Turns: of the requests that are about one job's files, one at a time; those of other jobs don't wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary


class _Turn:
    """A lock that is forgotten with the last request that holds it or waits for it."""

    __slots__ = ("__weakref__", "lock")

    def __init__(self) -> None:
        """Make it free."""
        self.lock = threading.Lock()


_GUARD = threading.Lock()
_TURNS: WeakValueDictionary[str, _Turn] = WeakValueDictionary()


@contextmanager
def in_turn(job_id: str) -> Iterator[None]:
    """Wait for the other requests about this id, then hold the turn."""
    with _GUARD:
        turn = _TURNS.get(job_id)
        if turn is None:
            turn = _TURNS[job_id] = _Turn()
    with turn.lock:
        yield
