"""Errors: what went wrong with a job, from its end and its log."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from stoker.domain.actor import Actor
from stoker.domain.log_errors import find_errors
from stoker.service.context import Context, visible
from stoker.service.logs import logs

LAST_LINES = 5000


def errors(context: Context, actor: Actor, job_id: str) -> dict[str, Any]:
    """Give the failure's sentence, the grouped error lines of the log's end, and its last traceback.

    Raises `NotFound`.
    """
    job, _ = visible(context, actor, job_id)
    read = logs(context, actor, job_id, limit=LAST_LINES, offset=-LAST_LINES)
    found = find_errors(read["logs"], read["offset"])
    return {
        "job_id": job_id,
        "error_summary": job.error,
        "reason": job.reason.value if job.reason else None,
        "errors": [
            {
                "timestamp": None,
                "level": one.level,
                "phase": None,
                "message": one.message,
                "dedupe_key": one.key,
                "count": one.count,
                "line": one.line,
            }
            for one in found.errors
        ],
        "traceback": asdict(found.traceback) if found.traceback else None,
        "error_count": found.total,
        "unique_error_count": len(found.errors),
    }
