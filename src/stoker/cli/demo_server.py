"""The demonstration's own server: started, killed and started again on a home of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from stoker.client import Client, ServerUnreachable
from stoker.domain.errors import StokerError

READY_SECONDS = 60.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.02
LAST_LINES = 5


class DemoFailed(StokerError):
    """The demonstration can't go on; the text says why."""


class DemoServer:
    """A server process on a free port of this machine."""

    def __init__(self, home: Path, log: Path, slots: int) -> None:
        """Choose a port; nothing is started yet."""
        self._home, self._log, self._slots = home, log, slots
        self.port = _free_port()
        self.client = Client(f"unix:{home / 'server.sock'}")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The number of the server's process, 0 if none was started."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> float:
        """Start the server and give the seconds until it was ready. Raises `DemoFailed` if it is not in time."""
        began = time.monotonic()
        argv = [sys.executable, "-m", "stoker.cli.main", "serve"]
        flags = ["--home", str(self._home), "--port", str(self.port), "--slots", str(self._slots)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STOKER_")}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*argv, *flags],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while not self._is_ready():
            if self._process.poll() is not None:
                raise DemoFailed(f"The server ended at its start:\n{self.last_lines()}")
            if time.monotonic() - began > READY_SECONDS:
                raise DemoFailed(f"The server was not ready within {READY_SECONDS:.0f} seconds; see {self._log}")
            time.sleep(POLL_SECONDS)
        return time.monotonic() - began

    def kill(self) -> None:
        """Kill the server with SIGKILL, which it can neither see coming nor clean up after."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        """Stop the server as a person would; nothing that is not running is stopped."""
        self.client.close()
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def last_lines(self) -> str:
        """Give the end of the server's log."""
        with self._log.open(errors="replace") as log:
            return "".join(deque(log, LAST_LINES)).strip()

    def _is_ready(self) -> bool:
        try:
            return bool(Client(self.client_url, timeout=2.0).health()["ready"])
        except ServerUnreachable:
            return False

    @property
    def client_url(self) -> str:
        """Where the server is for its own user."""
        return str(self.client.address)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
