"""How soon after a crash a server is ready again, with many running jobs and a long history."""

from tests.bench import floor
from tests.bench.history import home_with_history
from tests.bench.measure import Figure, Samples
from tests.bench.place import Place
from tests.bench.served import Served

TARGET_SECONDS = 3.0


def measure(place: Place) -> list[Figure]:
    """Kill the server again and again while its jobs run on."""
    running, samples = place.count(50, 5), Samples()
    with Served(place, home_with_history(place), slots=running) as server:
        caller = server.caller()
        jobs = [caller.submit(place.stamp, "wait") for _ in range(running)]
        for job in jobs:
            caller.wait_for(job, "running")
        pids = {job: caller.get(f"/status/{job}")["process_pid"] for job in jobs}
        for _ in range(place.count(7, 2)):
            server.kill()
            moments = server.start()
            samples.add(moments["ready"] / 1e3, {name: moment / 1e3 for name, moment in moments.items()})
        caller = server.caller()
        found = {job: caller.get(f"/status/{job}")["process_pid"] for job in jobs}

        assert found == pids, "a job did not live through the restarts"
    name = f"kill -9 of the server → ready, {running} jobs running"
    return [samples.figure(name, "s", target=TARGET_SECONDS, floor=floor.PYTHON)]
