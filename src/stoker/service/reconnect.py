"""Reconnect: compare the store with what really runs, now, and say what was found."""

from __future__ import annotations

from typing import Any

from stoker.domain.actor import Actor, Scope
from stoker.domain.states import JobState
from stoker.service.context import Context, require


def reconnect(context: Context, actor: Actor) -> dict[str, Any]:
    """Reconcile every open attempt now. Harmless at any time."""
    require(actor, Scope.ADMIN)
    before = context.store.count_by_state()
    found = dict(context.reconcile())
    after = context.store.count_by_state()
    return {
        "success": True,
        "jobs_before": sum(before.values()),
        "jobs_after": sum(after.values()),
        "running_before": before[JobState.RUNNING],
        "running_after": after[JobState.RUNNING],
        "reconnected": sum(1 for finding in found.values() if finding == "alive"),
        "findings": found,
        "message": f"{len(found)} open attempts were looked for",
    }
