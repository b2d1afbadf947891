"""From an HTTP submit to the first instruction of the command."""

import os
import time

from tests.bench import floor
from tests.bench.measure import Figure, Samples
from tests.bench.place import Place
from tests.bench.served import Caller, Served
from tests.bench.supervisor_start import STAGES
from tests.bench.trail import Trail

TARGET_MILLISECONDS = 60.0
WARM_UP = 3


def measure(place: Place) -> list[Figure]:
    """Submit one job after the other to a server that has nothing else to do."""
    samples = Samples()
    with Served(place) as server, Trail(server.attempts) as trail:
        caller = server.caller()
        for _ in range(WARM_UP):
            _submit(place, caller, trail, Samples())
        for _ in range(place.count(60, 10)):
            _submit(place, caller, trail, samples)
    name = "HTTP submit → first instruction"
    return [samples.figure(name, "ms", target=TARGET_MILLISECONDS, floor=floor.SPAWN)]


def _submit(place: Place, caller: Caller, trail: Trail, samples: Samples) -> None:
    pipe = place.pipe()
    reader = os.open(pipe, os.O_RDWR)
    trail.forget()
    began = time.monotonic()
    job = caller.submit(place.stamp, pipe)
    answered = 1e3 * (time.monotonic() - began)
    ran = 1e-9 * floor.read_stamp(reader)
    os.close(reader)
    named = {"made": "attempt committed", "written": "directory written", **STAGES}
    stages = {"HTTP answer": answered, **trail.since(began, named), "exec": 1e3 * (ran - began)}
    samples.add(1e3 * (ran - began), stages)
    caller.wait_for(job, "completed")
    time.sleep(0.02)
