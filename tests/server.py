"""A real server in a process of its own, on a free port; all that it started is cleared away at the end."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stoker.rundir.identity import all_pids, read_proc, send_signal
from stoker.rundir.layout import AttemptDir
from stoker.rundir.records import read_process
from tests.waiting import wait_until

START_SECONDS = 60.0
STOP_SECONDS = 15.0
CLEARED = ("STOKER_", "XDG_DATA_HOME")


@dataclass(frozen=True)
class Answer:
    """What the server answered. `body` is the JSON in it, or its text if it is none."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Server:
    """A server that can be asked, killed and started again. `port` is a new one after each start."""

    home: Path
    flags: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    log_start: int = 0

    @property
    def log_path(self) -> Path:
        return self.home.with_name(f"{self.home.name}.log")

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.spawn()
        wait_until(self._is_ready, START_SECONDS, "the server to be ready")

    def spawn(self) -> None:
        """Start it, and wait only until it has a port."""
        self.log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self._command("0"), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment()
            )
        self.port = wait_until(self._find_port, START_SECONDS, "the server's port")

    def second(self, *flags: str) -> "subprocess.CompletedProcess[str]":
        """Try to start another one on the same home; give what it said and its exit code."""
        command = [*self._command("0"), *flags]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=self._environment())

    def kill9(self) -> None:
        """Kill it as the kernel would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Stop it as an init system would; give its exit code."""
        return self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("POST", path, body, headers)

    def delete(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("DELETE", path, headers=headers)

    def request(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None, seconds: float = 60
    ) -> Answer:
        """Ask once, on a connection of its own. A body that is no bytes is sent as JSON."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        kind = {} if data is None else {"Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request(method, path, data, {**kind, **(headers or {})})
            response = connection.getresponse()
            return _answer(response)
        finally:
            connection.close()

    def clear(self) -> None:
        """End the server and every process of its jobs."""
        if self.process is not None and self.process.poll() is None:
            self.stop()  # not killed: what it measured of its coverage would be lost
        attempts = [AttemptDir(str(path)) for path in self.home.glob("attempts/*-*")]
        for attempt in attempts:
            _kill_trainer(attempt)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not _processes_of(self.home), 5.0)
        wait_until(lambda: not _kill_all(_processes_of(self.home)), 10.0, "the jobs' processes to be gone")

    def _command(self, port: str) -> list[str]:
        serve = [sys.executable, "-m", "stoker.cli.main", "serve", "--json-logs", "--home", str(self.home)]
        return [*serve, "--port", port, *self.flags]

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(CLEARED)}
        return kept | dict(self.environment)

    def _find_port(self) -> int | None:
        assert self.process is not None
        said = self.log_path.read_bytes()[self.log_start :].decode(errors="replace")
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}: {said}")
        for line in said.splitlines():
            if '"server_started"' in line:
                return int(json.loads(line)["port"])
        return None

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get("/ready").status == 200
        assert self.process is not None
        assert self.process.poll() is None, self.log
        return False

    def _end(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()


@contextlib.contextmanager
def running_server(home: Path, *flags: str, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run a server on `home` for a block. `flags` are those of `stoker serve`."""
    server = Server(Path(home), tuple(flags), environment or {})
    try:
        server.start()
        yield server
    finally:
        server.clear()


def _answer(response: http.client.HTTPResponse) -> Answer:
    data = response.read()
    try:
        body = json.loads(data)
    except ValueError:
        body = data.decode(errors="replace")
    return Answer(response.status, body, {name.lower(): value for name, value in response.getheaders()})


def _kill_trainer(attempt: AttemptDir) -> None:
    """Kill the main process; its supervisor then clears the rest of the tree away, whatever it did to escape."""
    trainer = read_process(attempt.trainer)
    if trainer is not None and not os.path.exists(attempt.exit):
        send_signal(trainer.who, signal.SIGKILL)


def _processes_of(home: Path) -> list[int]:
    mark = str(home).encode()
    found = [pid for pid in all_pids() if pid != os.getpid()]
    return [pid for pid in found if mark in read_proc(f"{pid}/cmdline") or mark in read_proc(f"{pid}/environ")]


def _kill_all(pids: list[int]) -> list[int]:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    time.sleep(0.05 if pids else 0)
    return pids
