"""The feed as a client sees it: server-sent events, decoded line by line, and where to go on after a break."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stoker.domain.states import TERMINAL, JobState

TERMINAL_WORDS = frozenset(state.value for state in TERMINAL)
_STATES = {state.value: state for state in JobState}
SILENCE_SECONDS = 60.0
"""A feed that sends nothing for so long, not even its sign of life, is opened anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedEvent:
    """One event of the feed. `kind` is state, progress, metrics, log or deleted.

    Besides there are `opened`, the first after each opening, `closed`, when it broke off, and `reset`, when the feed no
    longer reaches back to where the reader was: what lies between must be looked up.
    """

    kind: str
    id: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def job_id(self) -> str | None:
        """The job that it tells of."""
        found = self.data.get("job_id")
        return str(found) if found is not None else None

    @property
    def state(self) -> JobState | None:
        """The state that the job is in after it, for an event that says so."""
        word = self.data.get("status", self.data.get("state"))
        return _STATES.get(word) if isinstance(word, str) else None

    @property
    def may_end(self) -> bool:
        """Whether its job may have ended by now, seen by this event or unseen before it."""
        return self.kind in ("opened", "reset") or self.ends_job

    @property
    def ends_job(self) -> bool:
        """Whether nothing more follows of its job."""
        return self.kind == "deleted" or (self.kind == "state" and self.state in TERMINAL)


CLOSED = FeedEvent(kind="closed")
WAITED_FOR = ("state", "deleted")
"""Kinds of events that tell the end of a job."""


@dataclass(frozen=True, slots=True)
class Silence:
    """How long to wait for a feed that says nothing; `ends` is a `time.monotonic()`, None for never."""

    ends: float | None

    @property
    def seconds(self) -> float:
        """The seconds to wait from now, never quite zero."""
        return SILENCE_SECONDS if self.ends is None else max(0.01, min(SILENCE_SECONDS, self.ends - time.monotonic()))

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return self.ends is not None and time.monotonic() >= self.ends


@dataclass(slots=True)
class FeedDecoder:
    """Turns the lines of an event stream into events, and remembers the id to resume after.

    The format is that of the HTML standard, section 9.2.6. `retry` is what the server asks for, in seconds.
    """

    last_id: str | None = None
    retry: float | None = None
    _is_open: bool = False
    _kind: str = ""
    _id: str | None = None
    _data: list[str] = field(default_factory=list)

    def take(self, line: str) -> FeedEvent | None:
        """Take one line without its end; give the event that it completes, if any."""
        if not line:
            return self._complete()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._kind = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isdigit():
                self.retry = int(value) / 1000
        return None

    @property
    def pause(self) -> float:
        """The seconds to wait before the feed is opened again."""
        return min(self.retry if self.retry is not None else 0.1, 1.0)

    def break_off(self) -> None:
        """Forget an event that was cut off; the stream goes on after the last whole one."""
        self._forget()
        self._is_open = False

    def _forget(self) -> None:
        self._kind, self._id, self._data = "", None, []

    def _complete(self) -> FeedEvent | None:
        """Give the event that is complete. An id without data only says how far the stream is: the first opens it."""
        kind, event_id, data = self._kind, self._id, "\n".join(self._data)
        self._forget()
        if event_id is not None:
            self.last_id = event_id
        opens, self._is_open = not self._is_open, True
        if data:
            return FeedEvent(kind=kind or "message", id=event_id, data=_object(data))
        return FeedEvent(kind="opened", id=event_id) if opens else None


def _object(data: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {"text": data}
    return found if isinstance(found, dict) else {"value": found}
