"""From `kill -9` of the trainer to `failed`, readable by the API."""

import json
import os
import signal
import time

from tests.bench import floor
from tests.bench.measure import Figure, Samples
from tests.bench.place import Place
from tests.bench.served import Caller, Served, new_entries
from tests.bench.trail import Trail

TARGET_MILLISECONDS = 20.0
WARM_UP = 3


def measure(place: Place) -> list[Figure]:
    """Kill the main process of one job after the other."""
    samples = Samples()
    with Served(place) as server, Trail(server.attempts) as trail:
        caller = server.caller()
        for _ in range(WARM_UP):
            _kill(place, server, caller, trail, Samples())
        for _ in range(place.count(60, 10)):
            _kill(place, server, caller, trail, samples)
    name = "kill -9 → failed readable by API"
    return [samples.figure(name, "ms", target=TARGET_MILLISECONDS, floor=floor.DEATH)]


def _kill(place: Place, server: Served, caller: Caller, trail: Trail, samples: Samples) -> None:
    trail.forget()
    job = caller.submit(place.stamp, "wait")
    pid = caller.wait_for(job, "running")["process_pid"]
    time.sleep(0.3)  # what the start left to do is not part of the end
    attempt = next(new_entries(server.attempts))
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    recorded = trail.moment("exit.json")  # nothing is asked before: a poll would take the processors from the work
    caller.wait_for(job, "failed", pause=0.001)
    failed = time.monotonic()
    told = _notes(attempt)
    moments = {"exit seen": told["exited"], "tree proven gone": told["empty"], "exit record": recorded}
    stages = {name: 1e3 * (moment - began) for name, moment in {**moments, "failed readable": failed}.items()}
    samples.add(stages["failed readable"], stages)


def _notes(attempt: str) -> dict[str, float]:
    """Give the moment of each note of an attempt's journal, on CLOCK_MONOTONIC."""
    asleep = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    with open(os.path.join(attempt, "journal.jsonl")) as file:
        return {line["note"]: line["t"] - asleep for line in map(json.loads, file)}
