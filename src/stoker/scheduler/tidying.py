"""Tidying: once at the start, what an earlier server left behind when it was killed is cleared away or reported."""

from __future__ import annotations

import threading
from dataclasses import asdict

import structlog

from stoker.rundir.leftovers import tidy
from stoker.scheduler.parts import Parts

log = structlog.get_logger()


def begin_tidying(parts: Parts, began_at: float) -> threading.Thread:
    """Tidy in a thread of its own, so that nobody waits for it. `began_at` is when this server began, UTC seconds."""
    thread = threading.Thread(target=_tidy, args=(parts, began_at), name="tidying", daemon=True)
    thread.start()
    return thread


def _tidy(parts: Parts, began_at: float) -> None:
    roots = (str(parts.settings.jobs_root), str(parts.settings.attempts_root))

    def is_known(job_id: str, attempt_id: str) -> bool:
        return any(attempt.id == attempt_id for attempt in parts.store.attempts(job_id))

    try:
        found = {
            kind: paths for kind, paths in asdict(tidy(roots, parts.store.job, is_known, began_at)).items() if paths
        }
    except Exception:
        log.exception("tidying_failed", remedy="it is tried again at the next start")
        return
    if found:
        log.warning("leftovers_found", **{kind: len(paths) for kind, paths in found.items()})
        log.info("leftovers_named", **{kind: paths[:20] for kind, paths in found.items()})
