"""Makes the database that is kept of the newest schema: run it once, when a schema is about to be released."""

import sqlite3
import sys
from pathlib import Path

from given_store import attempt, ended, intake, new, queued, rows, running, stop

from stoker.domain.actor import Scope
from stoker.domain.states import JobState
from stoker.domain.stop import StopKind
from stoker.store.port import ApiKey, SupervisorNote
from stoker.store.sql import open_store


def fill(path: str) -> None:
    store = open_store(path)
    epoch = store.acquire_term("old server")
    queued(store, "waiting", name="waits", user_id="u1", priority=2)
    running(store, epoch, "training", idempotency_key="key")
    notes = (SupervisorNote(at=4.0, data={"note": "phase", "phase": "training"}),)
    progress, live = {"step": 19, "loss": 0.05}, {"phase": "training", "watched_by": "callback"}
    store.take_in("training/1", epoch, intake("", "c1", metrics=rows(0, 19), notes=notes, progress=progress, live=live))
    store.request_stop("training", stop(StopKind.PAUSED))
    for job_id, state in (
        ("done", JobState.COMPLETED),
        ("broken", JobState.FAILED),
        ("resting", JobState.PAUSED),
        ("deleted", JobState.FAILED),
    ):
        running(store, epoch, job_id)
        ended(store, epoch, job_id, state=state)
    store.delete("deleted", 30.0)
    store.submit(new("unwanted"))
    store.open_attempt(attempt("unwanted"), epoch)
    ended(store, epoch, "unwanted", state=JobState.QUEUED, lost=True, not_before=50.0)
    store.request_stop("unwanted", stop())
    scopes = frozenset({Scope.READ, Scope.CANCEL})
    store.add_key(ApiKey(prefix="sk-old", digest="d" * 64, owner="ada", scopes=scopes, name="laptop", created_at=1.0))
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = '0123456789abcdef0123456789abcdef' WHERE key = 'home_id'")
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.execute("VACUUM")
    connection.close()


if __name__ == "__main__":
    fill(str(Path(sys.argv[1]).absolute()))
