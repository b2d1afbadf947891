"""A real server for the bench, in a process of its own, and a client that keeps its connection."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from tests.bench.place import Place
from tests.waiting import wait_until

STOKER = os.path.join(os.path.dirname(sys.executable), "stoker")
TERMINAL = ("completed", "failed", "cancelled")


class Caller:
    """One connection to the server."""

    def __init__(self, port: int) -> None:
        """Connect at the first request."""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def get(self, path: str) -> dict[str, Any]:
        """Ask for a path below /api/training."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a body to a path below /api/training."""
        return self._ask("POST", path, body)

    def submit(self, *command: str, **more: Any) -> str:
        """Queue a command and give the job's id."""
        return self.post("/execute", {"recipe": "command", "command": list(command), **more})["job_id"]

    def wait_for(self, job_id: str, *states: str, pause: float = 0.005) -> dict[str, Any]:
        """Wait until a job is in one of these states, and give it."""
        end = time.monotonic() + 60
        while (job := self.get(f"/status/{job_id}"))["status"] not in states:
            assert job["status"] not in TERMINAL, job
            assert time.monotonic() < end, job
            time.sleep(pause)
        return job

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {} if data is None else {"Content-Type": "application/json"}
        self._connection.request(method, "/api/training" + path, data, headers)
        answer = self._connection.getresponse()
        content = json.loads(answer.read())

        assert answer.status == 200, content
        return content


class Served:
    """A server on a home, started and killed as often as wanted. Left, it ends with all its jobs."""

    def __init__(self, place: Place, home: str | None = None, slots: int = 1) -> None:
        """Take a home, a new one if none is given."""
        self.home, self._slots = home or place.file("home"), slots
        self.port = _free_port()
        self._log = place.file("server.log")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it and wait until it is ready."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every job, then the server."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.end_jobs()
        self._end(signal.SIGTERM)

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._process is not None, "the server was not started"
        return self._process.pid

    @property
    def attempts(self) -> str:
        """The folder of the attempts."""
        return os.path.join(self.home, "attempts")

    def start(self) -> dict[str, float]:
        """Start it; give the milliseconds until it listened, answered, and was ready."""
        command = [STOKER, "serve", "--home", self.home, "--port", str(self.port), "--slots", str(self._slots)]
        with open(self._log, "ab") as log:
            began = time.monotonic()
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        checks = {"listening": self._listens, "answering": self._is_healthy, "ready": self._is_ready}
        moments = {}
        for name, check in checks.items():
            wait_until(check, 60.0, f"the server to be {name}: {self.log()}")
            moments[name] = 1e3 * (time.monotonic() - began)
        return moments

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def log(self) -> str:
        """Give what the server said."""
        with open(self._log) as file:
            return file.read()

    def caller(self) -> Caller:
        """Give a new connection."""
        return Caller(self.port)

    def end_jobs(self) -> None:
        """Cancel what is queued or runs, the queued first, and wait until all is gone."""
        caller = self.caller()
        for state in ("queued", "pending,running"):
            for job in _jobs(caller, state):
                caller.post(f"/cancel/{job['job_id']}")
        wait_until(lambda: not _jobs(caller, "queued,pending,running"), 60.0, "the end of all jobs")

    def _end(self, number: int) -> None:
        assert self._process is not None, "the server was not started"
        self._process.send_signal(number)
        self._process.wait(30)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5):
            return True
        return False

    def _is_healthy(self) -> bool:
        return self._public("/health") == 200

    def _is_ready(self) -> bool:
        return self._public("/ready") == 200

    def _public(self, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().status


def _jobs(caller: Caller, states: str) -> list[dict[str, Any]]:
    return caller.get(f"/jobs?status={states}&limit=1000")["jobs"]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def new_entries(folder: str) -> Iterator[str]:
    """Give the paths in a folder, the newest first."""
    found = sorted(os.scandir(folder), key=lambda entry: entry.stat().st_ctime_ns, reverse=True)
    return (entry.path for entry in found)
