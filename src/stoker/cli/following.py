"""Following a job to its end: over restarts of the server, and left with Ctrl-C without touching the job."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager

from stoker.cli.exits import Exit
from stoker.cli.output import note
from stoker.client import Answer, Client, FeedEvent

KINDS = ("state", "progress")
SHOW_SECONDS = 0.2
"""A job's status is asked for no more often than this."""


@contextmanager
def detaching(job_id: str) -> Iterator[None]:
    """Turn Ctrl-C into a farewell that says how to come back; the job goes on."""
    try:
        yield
    except KeyboardInterrupt:
        note(f"\nDetached; job {job_id} goes on. Come back: stoker watch {job_id} - end it: stoker cancel {job_id}")
        sys.exit(Exit.DETACHED)


def statuses(client: Client, job_id: str) -> Generator[tuple[FeedEvent, Answer | None], None, None]:
    """Yield every event of the feed with the status of the job if it is due; the last one is its end."""
    shown_at = float("-inf")
    with closing(client.stream([job_id], kinds=KINDS)) as feed:
        for event in feed:
            is_due = event.kind != "progress" or time.monotonic() - shown_at >= SHOW_SECONDS
            if not is_due or event.kind == "closed":
                yield event, None
                continue
            shown_at, status = time.monotonic(), client.status(job_id)
            yield event, status
            if status["completed_at"] is not None:
                return
