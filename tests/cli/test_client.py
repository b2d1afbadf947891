"""The Python client: one scenario for both kinds, and what it does when connections break."""

import asyncio
import contextlib
import socket
import threading
import time

import pytest

from stoker import client as offered
from stoker.client import AsyncClient, Client
from tests.daemon.given_jobs import REPORTS, python
from tests.waiting import wait_until


class Plain:
    """`Client`, called through one form for both kinds."""

    def __init__(self, url, **more):
        self.client = Client(url, **more)

    def __call__(self, verb, *words, **more):
        return getattr(self.client, verb)(*words, **more)

    def events(self, *words, until, **more):
        found = []
        for event in self.client.stream(*words, **more):
            found.append(event)
            if until(event):
                return found
        return found

    def close(self):
        self.client.close()


class Awaited:
    """`AsyncClient`, called through the same form."""

    def __init__(self, url, **more):
        self.runner = asyncio.Runner()
        self.client = self.runner.run(self._make(url, more))

    async def _make(self, url, more):
        return AsyncClient(url, **more)

    def __call__(self, verb, *words, **more):
        return self.runner.run(getattr(self.client, verb)(*words, **more))

    def events(self, *words, until, **more):
        return self.runner.run(self._events(words, until, more))

    async def _events(self, words, until, more):
        found = []
        feed = self.client.stream(*words, **more)
        async for event in feed:
            found.append(event)
            if until(event):
                break
        await feed.aclose()
        return found

    def close(self):
        self.runner.run(self.client.aclose())
        self.runner.close()


@pytest.fixture(params=[Plain, Awaited])
def ask(request):
    """Make clients of either kind; they are closed with the test."""
    made = []

    def make(url, **more):
        made.append(request.param(url, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


def asked(command, **fields):
    return {"recipe": "command", "command": command, **fields}


@pytest.mark.parametrize("way", ["socket", "tcp"])
def test_a_job_from_submit_to_end_and_beyond(stoker, ask, way):
    server = ask(stoker.url if way == "socket" else stoker.server.url)
    job = server("submit", asked(python(REPORTS, 4, 0.01), name="by a client"))["job_id"]
    end = server("wait", job, timeout=60)

    assert server("health")["status"] == "healthy"
    assert (end["status"], end["current_step"], end["name"]) == ("completed", 4, "by a client")
    assert [point["step"] for point in server("metrics", job)["metrics"]] == [1, 2, 3, 4]
    assert server("metrics", job, since="1.2")["metrics"][0]["step"] == 4
    assert server("logs", job, offset=-1)["logs"] == ["step 4"]
    assert server("events", job)["events"][0]["to"] == "queued"
    assert server("errors", job)["error_count"] == 0
    assert server("checkpoints", job)["checkpoints"] == []
    assert server("jobs", states=["completed"], text=job)["jobs"][0]["job_id"] == job
    assert server("queue")["slots"] == 8
    assert server("reconnect")["success"] is True
    again = server("force_start", job)["job_id"]
    server("wait", again, timeout=60)
    assert server("delete", again)["success"] is True
    with pytest.raises(offered.NotFound):
        server("status", again)


def test_stops_and_orders(stoker, ask):
    server = ask(stoker.url)
    job = server("submit", asked(python("import time; time.sleep(600)"), limits={"grace_seconds": 0}))["job_id"]
    server.events([job], last_id="0", until=lambda event: event.state == "running")

    assert server("priority", job, 7)["priority"] == 7
    assert server("pause", job)["success"] is True
    server.events([job], last_id="0", until=lambda event: event.state == "paused")
    assert server("resume", job)["new_status"] == "queued"
    assert server("cancel", job)["success"] is True
    assert server("wait", job, timeout=60)["status"] == "cancelled"


def test_keys_are_made_listed_used_and_revoked(stoker, ask):
    local = ask(stoker.url)
    made = local("create_key", {"owner": "client-test", "scopes": ["read"]})
    other = ask(stoker.server.url, key=made["key"])

    assert other("jobs")["jobs"] == []
    with pytest.raises(offered.Forbidden, match="scope 'submit'"):
        other("submit", asked(["true"]))
    assert made["prefix"] in {key["prefix"] for key in local("keys")["keys"]}
    local("revoke_key", made["prefix"])
    with pytest.raises(offered.Unauthenticated):
        other("jobs")


def test_a_refusal_carries_every_fault_with_its_remedy(stoker, ask):
    with pytest.raises(offered.InvalidRequest) as caught:
        ask(stoker.url)("submit", asked([], gpus=3, priority=5000))

    assert caught.value.status == 400
    assert {"gpus", "priority"} <= {problem.field for problem in caught.value.problems}
    assert all(problem.remedy for problem in caught.value.problems)


def test_a_key_of_a_request_stands_for_that_request_alone(stoker, ask):
    server = ask(stoker.url)
    first = server("submit", asked(["true"]), idempotency_key="k-1")

    assert server("submit", asked(["true"]), idempotency_key="k-1")["job_id"] == first["job_id"]
    with pytest.raises(offered.Conflict):
        server("submit", asked(["false"]), idempotency_key="k-1")


def test_no_server_is_told_at_once(ask, tmp_path):
    began = time.monotonic()
    with pytest.raises(offered.ServerUnreachable, match=r"No server answers at unix:.*Start one with `stoker serve`"):
        ask(f"unix:{tmp_path}/nobody.sock")("jobs")

    assert time.monotonic() - began < 5


def test_a_wait_gives_up_after_its_time_and_the_job_goes_on(stoker, ask, sleeper):
    server, began = ask(stoker.url), time.monotonic()
    with pytest.raises(TimeoutError, match="it goes on"):
        server("wait", sleeper, timeout=0.5)

    assert time.monotonic() - began < 10
    assert server("status", sleeper)["stop_request"] is None


def test_a_wait_gives_up_in_time_while_the_job_prints(stoker, ask):
    server = ask(stoker.url)
    chatty = python("import time\nwhile True:\n    print('on', flush=True)\n    time.sleep(0.02)")
    job = server("submit", asked(chatty, limits={"grace_seconds": 0}))["job_id"]
    began = time.monotonic()
    found = server.events([job], ends=began + 2.0, until=lambda event: False)
    took = time.monotonic() - began
    server("cancel", job)

    assert any(event.kind == "log" for event in found)
    assert took < 10


def pump(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)


class Proxy:
    """Passes requests on to a server, and breaks the connection before the answer to the first of them."""

    def __init__(self, port):
        self.target, self.answers = port, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(connection,), daemon=True).start()

    def _pass_on(self, connection):
        with connection, socket.create_connection(("127.0.0.1", self.target)) as server:
            threading.Thread(target=pump, args=(connection, server), daemon=True).start()
            while answer := server.recv(1 << 16):
                self.answers += answer.startswith(b"HTTP/")  # one answer may come in several pieces
                if self.answers == 1:
                    connection.shutdown(socket.SHUT_RDWR)
                    return
                connection.sendall(answer)

    def close(self):
        self.listener.close()


@pytest.fixture
def proxy(stoker):
    one = Proxy(stoker.server.port)
    yield one
    one.close()


@pytest.fixture
def proxied(stoker, ask, proxy):
    """A client that loses its first answer, with a key: through a proxy nobody is the own user."""
    key = ask(stoker.url)(
        "create_key", {"owner": f"p{time.monotonic_ns()}", "scopes": ["read", "submit", "command", "admin"]}
    )
    return ask(proxy.url, key=key["key"])


def test_a_submit_whose_answer_was_lost_is_sent_again_and_makes_one_job(stoker, proxied, proxy):
    answer = proxied("submit", asked(python("pass"), name="once only"))

    assert proxy.answers == 2
    assert answer["created"] is False
    assert [job["job_id"] for job in proxied("jobs", text="once only")["jobs"]].count(answer["job_id"]) == 1


def test_what_can_not_be_sent_twice_says_that_it_may_have_been_done(proxied, proxy):
    with pytest.raises(offered.AnswerLost, match="may have been carried out"):
        proxied("create_key", {"owner": "twice"})

    assert proxy.answers == 1


def test_a_submit_waits_for_a_server_that_is_killed_and_comes_back(alone, ask):
    server = ask(alone.url, patience=60)
    server("health")
    alone.server.kill9()
    back = threading.Thread(target=alone.server.start)
    back.start()
    try:
        job = server("submit", asked(python("pass"), name="patient"))["job_id"]
    finally:
        back.join()

    assert server("wait", job, timeout=60)["status"] == "completed"


def test_the_feed_goes_on_over_a_kill_without_a_gap_or_a_repetition(alone, ask):
    server = ask(alone.url)
    job = server("submit", asked(python(REPORTS, 100, 0.05)))["job_id"]
    killer = threading.Thread(
        target=lambda: (wait_until(lambda: step_of(alone, job) > 10, 30), alone.server.kill9(), alone.server.start())
    )
    killer.start()
    try:
        found = server.events([job], last_id="0", until=lambda event: event.ends_job)
    finally:
        killer.join()
    numbers = [int(event.id) for event in found if event.id and event.kind != "opened"]
    steps = [point["step"] for event in found if event.kind == "metrics" for point in event.data["metrics"]]
    text = "".join(event.data["text"] for event in found if event.kind == "log")

    assert "closed" in {event.kind for event in found}
    assert numbers == sorted(set(numbers))
    assert steps == list(range(1, 101))
    assert text == "".join(f"step {n}\n" for n in range(1, 101))


def step_of(alone, job):
    with alone.client() as client:
        return client.status(job)["current_step"] or 0


def test_many_threads_may_share_a_client(stoker, reported):
    with stoker.client() as client:
        found = []
        threads = [threading.Thread(target=lambda: found.append(client.status(reported)["status"])) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert found == ["completed"] * 16


def test_a_home_with_a_long_name_is_reached_by_its_socket(tmp_path, ask):
    from tests.server import running_server  # noqa: PLC0415 - the shared server has a short name

    home = tmp_path / ("a" * 120) / "home"
    home.parent.mkdir()
    with running_server(home):
        assert ask(f"unix:{home / 'server.sock'}")("health")["status"] == "healthy"
