"""A server for the command line to talk to, and the command line as a user starts it."""

import os
import signal
import subprocess
import sys

import pytest

from stoker.client import Client
from tests.daemon.given_jobs import REPORTS, python
from tests.server import running_server

SECONDS = 60


def hear_ctrl_c():
    """Let a command hear Ctrl-C as in a terminal, though who runs the tests may ignore it (as background jobs do)."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Stoker:
    """The command line of one server's user: `stoker("ls", "--json")`."""

    def __init__(self, server, folder):
        self.server, self.folder = server, folder
        self.url = f"unix:{server.home / 'server.sock'}"

    def environment(self, **more):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("STOKER_", "XDG_DATA"))}
        return kept | {"STOKER_URL": self.url, "STOKER_HOME": str(self.server.home), **more}

    def argv(self, *words):
        return [sys.executable, "-m", "stoker.cli.main", *map(str, words)]

    def __call__(self, *words, seconds=SECONDS, text=None, **more):
        """Run a command to its end."""
        return subprocess.run(
            self.argv(*words), capture_output=True, text=True, timeout=seconds, check=False, input=text,
            stdin=subprocess.DEVNULL if text is None else None, env=self.environment(**more), cwd=self.folder,
        )  # fmt: skip

    def start(self, *words, **more):
        """Start a command that goes on."""
        return subprocess.Popen(
            self.argv(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
            env=self.environment(**more), cwd=self.folder, preexec_fn=hear_ctrl_c,
        )  # fmt: skip

    def client(self, **more):
        return Client(self.url, **more)

    def submit(self, command, **fields):
        """Queue a command; give its id."""
        request = {"recipe": "command", "command": command, "cwd": str(self.folder), **fields}
        with self.client() as client:
            return client.submit(request)["job_id"]


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A server that several tests use, each with jobs of its own."""
    folder = tmp_path_factory.mktemp("cli")
    with running_server(folder / "home", "--slots", "8") as server:
        yield Stoker(server, folder)


@pytest.fixture
def stoker(shared, tmp_path):
    """The command line of the shared server, in a folder of the test's own."""
    return Stoker(shared.server, tmp_path)


@pytest.fixture
def alone(tmp_path):
    """The command line of a server that is the test's own, to be killed."""
    with running_server(tmp_path / "home", "--slots", "4") as server:
        yield Stoker(server, tmp_path)


@pytest.fixture(scope="session")
def reported(shared):
    """A job that completed after three steps."""
    job = shared.submit(python(REPORTS, 3, 0.01), name="three steps")
    with shared.client() as client:
        assert client.wait(job, timeout=SECONDS)["status"] == "completed"
    return job


@pytest.fixture(scope="session")
def failed(shared):
    """A job that failed with a traceback."""
    job = shared.submit(python("raise ValueError('the rows are odd')"))
    with shared.client() as client:
        assert client.wait(job, timeout=SECONDS)["status"] == "failed"
    return job


@pytest.fixture
def sleeper(stoker):
    """A job that sleeps until it is ended; it ends with the test."""
    job = stoker.submit(
        python("import time; print('asleep', flush=True); time.sleep(600)"), limits={"grace_seconds": 1}
    )
    yield job
    with stoker.client() as client:
        if client.status(job)["status"] not in ("completed", "failed", "cancelled"):
            client.cancel(job)
            client.wait(job, timeout=SECONDS)


@pytest.fixture
def going(stoker):
    """Start commands that are surely gone when the test is over."""
    started = []

    def start(*words, **more):
        started.append(stoker.start(*words, **more))
        return started[-1]

    yield start
    for one in started:
        if one.poll() is None:
            one.send_signal(signal.SIGKILL)
        one.communicate(timeout=10)
