"""How much memory each supervisor takes, alone and among fifty."""

from tests.bench.measure import Figure
from tests.bench.place import Place
from tests.bench.processes import pss_megabytes
from tests.supervisor.attempts import Attempt

TARGET_MEGABYTES = 12.0
MANY = 50


def measure(place: Place) -> list[Figure]:
    """Let supervisors watch processes that only wait."""
    alone = [size for _ in range(place.count(5, 1)) for size in _sizes(place, 1)]
    among = _sizes(place, MANY)
    note = f"the largest of {MANY}: {max(among):.2f} MB"
    return [
        Figure(name="supervisor: PSS, alone", unit="MB", values=tuple(alone), target=TARGET_MEGABYTES),
        Figure(
            name=f"supervisor: PSS, among {MANY}", unit="MB", values=tuple(among), target=TARGET_MEGABYTES, note=note
        ),
    ]


def _sizes(place: Place, count: int) -> list[float]:
    attempts = [Attempt(place.folder, (place.stamp, "wait")) for _ in range(count)]
    try:
        for attempt in attempts:
            attempt.start()
        for attempt in attempts:
            attempt.wait_for("executed", 60.0)
        return [pss_megabytes(attempt.supervisor().pid) for attempt in attempts]
    finally:
        for attempt in attempts:
            attempt.stop("cancelled")
        for attempt in attempts:
            attempt.clean_up()
