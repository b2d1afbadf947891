"""How many jobs per second go through a server whose commands do nothing."""

import time

from tests.bench.measure import Figure
from tests.bench.place import Place
from tests.bench.served import Served
from tests.waiting import wait_until

SLOTS = 2


def measure(place: Place) -> list[Figure]:
    """Submit many jobs at once, and wait until the last one is completed."""
    count = place.count(100, 20)
    with Served(place, slots=SLOTS) as server:
        rates = [_round(place, server, count) for _ in range(place.count(3, 1))]
    name = f"jobs per second, no-op commands, {SLOTS} slots"
    return [Figure(name=name, unit="/s", values=tuple(rates), at_least=True, note=f"rounds of {count} jobs")]


def _round(place: Place, server: Served, count: int) -> float:
    caller = server.caller()
    began = time.monotonic()
    jobs = [caller.submit(place.stamp) for _ in range(count)]
    wait_until(lambda: _is_over(server), 300.0, f"the end of {count} jobs")
    spent = time.monotonic() - began
    for job in jobs:
        caller.wait_for(job, "completed")
    return count / spent


def _is_over(server: Served) -> bool:
    queue = server.caller().get("/queue")
    return queue["running_count"] + queue["queued_count"] == 0
