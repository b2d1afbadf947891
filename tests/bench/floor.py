"""The floor: what the bare machine needs for the primitives that everything else is made of."""

import os
import select
import signal
import sqlite3
import struct
import subprocess
import sys
import time

from tests.bench.measure import Figure, repeat, stopwatch
from tests.bench.place import Place

SPAWN, DEATH, APPEND, COMMIT, PYTHON = (
    "floor: spawn → first instruction",
    "floor: kill -9 → pidfd readable",
    "floor: append 200 B + fdatasync",
    "floor: SQLite WAL/FULL commit",
    "floor: python -I -S, start to end",
)


def measure(place: Place) -> list[Figure]:
    """Measure the five of them."""
    stamp, count = place.stamp, place.count(200, 30)
    return [
        _figure(SPAWN, repeat(count, lambda: _spawn(stamp, place.pipe()))),
        _figure(DEATH, repeat(count, lambda: _kill(stamp))),
        _figure(APPEND, _appends(place.file("append"), count)),
        _figure(COMMIT, _commits(place.file("commit.db"), count)),
        _figure(PYTHON, repeat(place.count(40, 10), _python)),
    ]


def read_stamp(pipe: int, seconds: float = 30.0) -> int:
    """Read what the stamping program says, in nanoseconds of CLOCK_MONOTONIC."""
    ready, _, _ = select.select([pipe], [], [], seconds)

    assert ready, f"the program did not begin within {seconds} s"
    return struct.unpack("q", os.read(pipe, 8))[0]


def _figure(name: str, milliseconds: list[float]) -> Figure:
    return Figure(name=name, unit="ms", values=tuple(milliseconds))


def _spawn(program: str, pipe: str) -> float:
    reader = os.open(pipe, os.O_RDWR)
    began = time.monotonic_ns()
    pid = os.posix_spawn(program, [program, pipe], os.environ)
    try:
        return 1e-6 * (read_stamp(reader) - began)
    finally:
        os.waitpid(pid, 0)
        os.close(reader)


def _kill(program: str) -> float:
    pid = os.posix_spawn(program, [program, "wait"], os.environ)
    descriptor = os.pidfd_open(pid)
    time.sleep(0.002)
    with stopwatch() as milliseconds:
        os.kill(pid, signal.SIGKILL)
        select.select([descriptor], [], [], 10.0)
        spent = milliseconds()
    os.waitpid(pid, 0)
    os.close(descriptor)
    return spent


def _appends(path: str, count: int) -> list[float]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def append() -> float:
        with stopwatch() as milliseconds:
            os.write(descriptor, b"x" * 200)
            os.fdatasync(descriptor)
            return milliseconds()

    try:
        return repeat(count, append)
    finally:
        os.close(descriptor)


def _commits(path: str, count: int) -> list[float]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY, spec TEXT)")

    def commit() -> float:
        with stopwatch() as milliseconds:
            connection.execute("INSERT INTO jobs (spec) VALUES (?)", ("x" * 200,))
            return milliseconds()

    try:
        return repeat(count, commit)
    finally:
        connection.close()


def _python() -> float:
    with stopwatch() as milliseconds:
        subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)
        return milliseconds()
