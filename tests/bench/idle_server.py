"""What a server costs that has nothing to do, and one that watches ten jobs which only wait."""

import time

from tests.bench.history import home_with_history
from tests.bench.measure import Figure
from tests.bench.place import Place
from tests.bench.processes import processor_seconds, pss_megabytes, rss_megabytes, switches
from tests.bench.served import Served

TARGET_PERCENT, TARGET_MEGABYTES = 0.5, 120.0
SETTLE_SECONDS = 3.0
WATCHED = 10


def measure(place: Place) -> list[Figure]:
    """Look at the server's processor time and memory, with a long history."""
    seconds = place.count(20, 5)
    with Served(place, home_with_history(place), slots=WATCHED) as server:
        figures = _look(server, seconds, "idle server")
        caller = server.caller()
        for job in [caller.submit(place.stamp, "wait") for _ in range(WATCHED)]:
            caller.wait_for(job, "running")
        return [*figures, *_look(server, seconds, f"server with {WATCHED} quiet jobs")]


def _look(server: Served, seconds: int, name: str) -> list[Figure]:
    time.sleep(SETTLE_SECONDS)
    slept, used = switches(server.pid), processor_seconds(server.pid)
    time.sleep(seconds)
    percent = 100 * (processor_seconds(server.pid) - used) / seconds
    wakes = (switches(server.pid) - slept) / seconds
    note = f"over {seconds} s; woken {wakes:.1f} times a second"
    rss, pss = rss_megabytes(server.pid), pss_megabytes(server.pid)
    return [
        Figure(name=f"{name}: processor", unit="%", values=(percent,), target=TARGET_PERCENT, note=note),
        Figure(name=f"{name}: RSS", unit="MB", values=(rss,), target=TARGET_MEGABYTES),
        Figure(name=f"{name}: PSS", unit="MB", values=(pss,), target=TARGET_MEGABYTES),
    ]
