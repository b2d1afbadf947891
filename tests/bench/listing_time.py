"""How long `stoker ls` takes, from its own start to its end."""

import os
import subprocess

from tests.bench import floor
from tests.bench.history import home_with_history
from tests.bench.measure import Figure, repeat, stopwatch
from tests.bench.place import Place
from tests.bench.served import STOKER, Served

TARGET_MILLISECONDS = 200.0


def measure(place: Place) -> list[Figure]:
    """List the newest jobs of a long history."""
    with Served(place, home_with_history(place)) as server:
        environment = os.environ | {"STOKER_HOME": server.home}

        def list_jobs() -> float:
            with stopwatch() as milliseconds:
                subprocess.run(
                    [STOKER, "ls"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
                )
                return milliseconds()

        spent = repeat(place.count(20, 5), list_jobs)
    target = TARGET_MILLISECONDS
    return [Figure(name="stoker ls, start to end", unit="ms", values=tuple(spent), target=target, floor=floor.PYTHON)]
