"""Health: the server, its store, its queue and its GPUs, in milliseconds whatever hangs."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from stoker.domain.errors import StokerError
from stoker.domain.states import JobState
from stoker.service.context import Context

VERSION = version("stoker")


def health(context: Context, *, is_ready: bool) -> dict[str, Any]:
    """Say how the server is. Needs no right: it tells nothing of any job."""
    store, queue = _store(context)
    return {
        "status": "healthy" if store == "ok" else "degraded",
        "service": "stoker",
        "version": VERSION,
        "ready": is_ready,
        "store": store,
        "queue": queue,
        "slots": context.settings.slots,
        "gpus": {"count": 0, "names": [], "state": "no_gpu"},
        "gpu_available": False,
        "gpu_info": None,
    }


def _store(context: Context) -> tuple[str, dict[str, int]]:
    try:
        counts = context.store.count_by_state()
    except StokerError as error:
        return str(error), {}
    return "ok", {state.value: counts[state] for state in (JobState.QUEUED, JobState.PENDING, JobState.RUNNING)}
