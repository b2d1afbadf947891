"""Events: the history of a job."""

from __future__ import annotations

from typing import Any

from stoker.domain.actor import Actor
from stoker.service.context import Context, visible
from stoker.service.view import iso


def events(context: Context, actor: Actor, job_id: str, *, after: int = -1, limit: int = 1000) -> dict[str, Any]:
    """Give the events of a job with a version above `after`, oldest first. Raises `NotFound`."""
    visible(context, actor, job_id)
    shown = [
        {
            "version": event.version,
            "kind": event.kind.value,
            "at": iso(event.at),
            "attempt": event.attempt,
            "from": event.source.value if event.source else None,
            "to": event.target.value if event.target else None,
            "data": event.data,
        }
        for event in context.store.events(job_id, after, limit)
    ]
    return {"job_id": job_id, "events": shown}
