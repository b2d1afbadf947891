"""Measure Stoker beside the floor of the machine: `python -m tests.bench [NAME…] [--quick] [--json FILE]`.

Being slow is no failure here: the exit code is 0 and the table says what was missed.
"""

import argparse
import json
import os
import platform
import sys
import time
import traceback
from pathlib import Path

from stoker.store.mounts import file_system
from tests.bench import (
    end_latency,
    floor,
    idle_server,
    jobs_rate,
    listing_time,
    progress_call,
    ready,
    status_rate,
    submit_latency,
    supervisor_memory,
    supervisor_start,
    unruly_tree,
)
from tests.bench.measure import Figure, as_data, stages, table
from tests.bench.place import Place

MEASURES = {
    "floor": floor.measure,
    "submit": submit_latency.measure,
    "end": end_latency.measure,
    "supervisor-start": supervisor_start.measure,
    "supervisor-memory": supervisor_memory.measure,
    "unruly-tree": unruly_tree.measure,
    "ready": ready.measure,
    "status": status_rate.measure,
    "idle": idle_server.measure,
    "jobs": jobs_rate.measure,
    "ls": listing_time.measure,
    "progress-call": progress_call.measure,
}
"""What can be named, in the order in which it is measured."""

BUSY_SHARE = 0.25
"""With a higher load average per core than this before it begins, the bench is not alone."""


def main(arguments: list[str]) -> int:
    """Measure what is named, or everything, and tell it."""
    given = _parse(arguments)
    names = [name for name in MEASURES if name in given.names or not given.names or name == "floor"]
    with Place(given.folder, quick=given.quick) as place:
        machine = _describe_machine(place)
        print(machine)
        if os.getloadavg()[0] > BUSY_SHARE * (os.cpu_count() or 1):
            print("Other work runs on this machine. What is measured now is an upper bound.")
        figures = [figure for name in names for figure in _measure(name, place)]
    print("\n" + table(figures))
    for figure in figures:
        if figure.note:
            print(f"  {figure.name}: {figure.note}")
    print("\n" + stages(figures))
    if given.json:
        with open(given.json, "w") as file:
            json.dump({"machine": machine, "figures": as_data(figures)}, file, indent=1)
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *MEASURES], help="what to measure; everything if left out")
    parser.add_argument("--quick", action="store_true", help="repeat less often")
    parser.add_argument("--json", metavar="FILE", help="write every sample to FILE")
    parser.add_argument("--folder", metavar="DIR", help="work below DIR; its disk is the one that is measured")
    return parser.parse_args(arguments)


def _measure(name: str, place: Place) -> list[Figure]:
    began = time.monotonic()
    print(f"{name} …", end=" ", flush=True)
    try:
        figures = MEASURES[name](place)
    except Exception:  # noqa: BLE001 - one figure that fails must not cost the others
        traceback.print_exc()
        return [Figure(name=name, unit="", values=(), note="could not be measured; the cause is above")]
    print(f"{time.monotonic() - began:.0f} s", flush=True)
    return figures


def _describe_machine(place: Place) -> str:
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    return (
        f"{os.cpu_count()} cores, Linux {platform.release()}, {file_system(Path(place.folder))}, "
        f"Python {platform.python_version()}, load average {load}, {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
