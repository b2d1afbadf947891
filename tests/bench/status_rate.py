"""How many status requests per second are answered while jobs report, submits come in and priorities change.

No answer may be older than the last acknowledged write: every priority that was changed is read back at once.
"""

import contextlib
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.bench import history
from tests.bench.measure import Figure
from tests.bench.place import Place
from tests.bench.processes import processor_seconds
from tests.bench.served import Caller, Served
from tests.daemon.given_jobs import REPORTS, python
from tests.waiting import wait_until

TARGET_PER_SECOND = 1000.0
CONNECTIONS = 16
RUNNING, STEP_SECONDS = 4, 0.05
ASKED = 200
WRITE_SECONDS = 0.05
BARE = "floor: bare uvicorn, bytes ready"


@dataclass
class Writes:
    """What the writer did and found."""

    submits: int = 0
    priorities: int = 0
    stale: int = 0
    over: threading.Event = field(default_factory=threading.Event)


def measure(place: Place) -> list[Figure]:
    """Ask for the status of old, running and queued jobs, in rounds."""
    seconds, rounds = place.count(5, 2), place.count(5, 1)
    bare = [_bare_round(place, seconds) for _ in range(place.count(3, 1))]
    home = history.home_with_history(place)
    with Served(place, home, slots=RUNNING) as server, _writing(server) as (writes, paths):
        spent, rates, took = processor_seconds(server.pid), [], []
        for _ in range(rounds):
            answers = _load(place, server.port, seconds, paths)
            rates.append(len(answers) / seconds)
            took += answers
        cost = 1e6 * (processor_seconds(server.pid) - spent) / len(took)
    written = writes.submits + writes.priorities
    note = (
        f"{CONNECTIONS} connections, rounds of {seconds} s; meanwhile {RUNNING} jobs report {1 / STEP_SECONDS:.0f} "
        f"steps/s each, and {written} submits and changes of priority; {cost:.0f} µs of server time per answer, the "
        "writes' included"
    )
    return [
        Figure(name=BARE, unit="/s", values=tuple(bare), at_least=True),
        Figure(
            name="status mixed with writes", unit="/s", values=tuple(rates), target=TARGET_PER_SECOND, at_least=True,
            floor=BARE, note=note,
        ),
        Figure(name="status mixed with writes: one answer", unit="ms", values=tuple(1e-3 * one for one in took)),
        Figure(
            name="status older than the last write", unit="", values=(float(writes.stale),), target=0.0,
            note=f"of {writes.priorities} read back",
        ),
    ]  # fmt: skip


@contextlib.contextmanager
def _writing(server: Served) -> Iterator[tuple[Writes, list[str]]]:
    """Have jobs that report and a writer at work; give what it does, and the paths to ask for."""
    caller, writes = server.caller(), Writes()
    running = [caller.submit(*python(REPORTS, 100_000, STEP_SECONDS)) for _ in range(RUNNING)]
    for job in running:
        caller.wait_for(job, "running")
    queued = caller.submit("sleep", "1000")
    chance = random.Random(1)
    old = [history.job_id(number) for number in chance.sample(range(_count(caller)), ASKED)]
    writer = threading.Thread(target=_write, args=(server.caller(), queued, writes))
    writer.start()
    try:
        yield writes, [f"/api/training/status/{job}" for job in [*old, *running, queued]]
    finally:
        writes.over.set()
        writer.join()


def _write(caller: Caller, queued: str, writes: Writes) -> None:
    while not writes.over.wait(WRITE_SECONDS):
        writes.priorities += 1
        priority = writes.priorities % 1000 + 1
        caller.post(f"/{queued}/priority", {"priority": priority})
        writes.stale += caller.get(f"/status/{queued}")["priority"] != priority
        caller.submit("sleep", "1000")
        writes.submits += 1


def _count(caller: Caller) -> int:
    newest = next(job for job in caller.get("/jobs?status=completed,failed&limit=1")["jobs"])
    return int(newest["job_id"].removeprefix(history.job_id(0)[:-6]))


def _bare_round(place: Place, seconds: float) -> float:
    server = Served(place)
    command = [sys.executable, "-m", "uvicorn", "tests.bench.bare:app", "--port", str(server.port), "--no-access-log"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(server._listens, 30.0, "the bare server")
        time.sleep(0.2)
        return len(_load(place, server.port, seconds, ["/"])) / seconds
    finally:
        process.terminate()
        process.wait(30)


def _load(place: Place, port: int, seconds: float, paths: list[str]) -> list[int]:
    """Give the microseconds that each answer took."""
    command = [place.load, str(port), str(CONNECTIONS), str(seconds), *paths]
    done = subprocess.run(command, capture_output=True, timeout=seconds + 60, check=False)

    assert done.returncode == 0, done.stderr.decode()
    return [int(line) for line in done.stdout.split()]
