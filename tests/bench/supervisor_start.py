"""How long a supervisor takes from its own start to the first instruction of what it was told to run."""

import os
import subprocess
import time

from tests.bench import floor
from tests.bench.measure import Figure, Samples
from tests.bench.place import Place
from tests.bench.processes import processor_seconds
from tests.bench.trail import Trail
from tests.supervisor.attempts import Attempt

STAGES = {
    "supervisor.log": "process begun",
    "lock": "modules loaded",
    "supervisor.json": "supervisor on record",
    "trainer.json": "trainer on record",
}


def measure(place: Place) -> list[Figure]:
    """Start supervisors one after the other, without a server."""
    samples, spent = Samples(), Samples()
    for _ in range(place.count(40, 8)):
        spent.add(_start(place, samples))
    return [
        samples.figure("supervisor: start → first instruction", "ms", floor=floor.PYTHON),
        spent.figure("supervisor: processor time of its start", "ms", floor=floor.PYTHON),
    ]


def _start(place: Place, samples: Samples) -> float:
    """Add one start to the samples; give the processor time that the supervisor needed for it, in milliseconds."""
    pipe = place.pipe()
    reader = os.open(pipe, os.O_RDWR)
    attempt = Attempt(place.folder, (place.stamp, pipe, "stay"))
    with Trail(attempt.directory.root) as trail:
        began = time.monotonic()
        subprocess.Popen(attempt.command, stdin=subprocess.DEVNULL, start_new_session=True, cwd="/").wait()
        ran = 1e-9 * floor.read_stamp(reader)
        samples.add(1e3 * (ran - began), trail.since(began, STAGES) | {"exec": 1e3 * (ran - began)})
    os.close(reader)
    attempt.wait_for("executed")
    spent = 1e3 * processor_seconds(attempt.supervisor().pid)
    attempt.stop("cancelled")
    attempt.exit()
    attempt.clean_up()
    return spent
