"""Writes to a store until it is killed, and prints each thing that was acknowledged."""

import sys

from given_store import attempt, intake, new, rows

from stoker.store.sql import open_store

url, run = sys.argv[1:]
store = open_store(url)
epoch = store.acquire_term(run)
for number in range(100_000):
    job_id = f"{run}-{number}"
    store.submit(new(job_id, idempotency_key=job_id))
    print("job", job_id, flush=True)
    store.open_attempt(attempt(job_id), epoch)
    store.mark_running(job_id, 1, epoch, 3.0)
    print("running", job_id, flush=True)
    store.take_in(f"{job_id}/1", epoch, intake(metrics=rows(0, 19), progress={"step": 19}))
    print("metrics", job_id, flush=True)
