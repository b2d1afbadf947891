"""Starting and stopping: what is refused before anything is touched, and what is left when the server has gone."""

import os
import signal
import socket
import threading
import time

import pytest

from stoker.api import connection as connection_module
from stoker.api import door
from stoker.api.serve import serve
from stoker.bootstrap import build
from stoker.settings import Settings
from stoker.store.sql import open_store
from tests.api.given_api import raw_connection, read_answer
from tests.daemon.given_jobs import python, status, submit, wait_for
from tests.server import Server, running_server
from tests.waiting import wait_until


def run_refused(home, *flags: str):
    """Start a server that must refuse; give what it said and its exit code."""
    return Server(home).second(*flags)


def test_d13_a_port_in_use_is_exit_98_and_nothing_is_touched(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = run_refused(tmp_path / "home", "--port", str(port))

    assert refused.returncode == 98
    assert f"port {port} is in use" in refused.stderr
    assert not (tmp_path / "home").exists()


def test_a20_a_second_server_on_the_home_is_exit_73_and_names_the_first(server):
    refused = server.second()

    assert refused.returncode == 73
    assert f"pid {server.pid}" in refused.stderr
    assert server.get("/ready").status == 200
    assert (server.home / "server.sock").exists()


def test_r2_a_bind_beyond_loopback_is_refused_without_a_key(tmp_path):
    refused = run_refused(tmp_path / "home", "--host", "0.0.0.0")

    assert refused.returncode != 0
    assert "stoker keys create" in refused.stderr


def test_r2_a_bind_beyond_loopback_is_let_in_once_a_key_is_valid(tmp_path):
    with running_server(tmp_path / "home") as server:
        made = server.post("/api/training/keys", {"owner": "ada"}).body
        server.stop()
        server.flags = ("--host", "0.0.0.0")
        server.start()

        assert server.get("/health").status == 200

        server.delete(f"/api/training/keys/{made['prefix']}")
        server.stop()

        assert "stoker keys create" in server.second("--host", "0.0.0.0").stderr


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_an_address_that_is_not_here_is_refused_with_words(tmp_path, host):
    refused = run_refused(tmp_path / "home", "--host", host)

    assert refused.returncode not in (0, 1)
    assert "--host" in refused.stderr or "name" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a14_a_stop_is_quick_clean_and_leaves_jobs_running(tmp_path, number):
    with running_server(tmp_path / "home") as server:
        job_id = submit(server, python("import time; time.sleep(600)"))
        pid = wait_for(server, job_id, "running")["process_pid"]
        began = time.monotonic()
        code = server._end(number)
        took = time.monotonic() - began

        assert (code, took < 10.0) == (0, True)
        assert os.path.exists(f"/proc/{pid}")
        assert not (server.home / "server.sock").exists()

        server.start()

        assert status(server, job_id)["process_pid"] == pid

        server.post(f"/api/training/cancel/{job_id}")
        wait_for(server, job_id, "cancelled")


def test_a_stop_waits_for_an_answer_under_way_and_takes_no_new_connection(tmp_path):
    body = b'{"recipe": "command", "command": ["true"]}'
    head = b"POST /api/training/execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with running_server(tmp_path / "home") as server, raw_connection(server.port) as connection:
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body))
        time.sleep(0.2)
        os.kill(server.pid, signal.SIGTERM)
        wait_until(lambda: not _can_connect(server.port))
        connection.sendall(body)
        code, _, _ = read_answer(connection)
        server.process.wait(10)

    assert code == 200


def test_a_home_with_a_path_too_long_for_a_unix_socket_has_one_all_the_same(tmp_path):
    home = tmp_path / ("long" * 30) / "home"
    home.parent.mkdir()
    with running_server(home) as server:
        assert len(str(home / "server.sock")) > 108
        assert (home / "server.sock").is_socket()
        assert server.get("/ready").status == 200


def test_a_server_whose_term_is_lost_stops(tmp_path):
    with running_server(tmp_path / "home") as server:
        other = open_store(server.home / "stoker.db")
        other.acquire_term("another server")
        other.close()
        server.post("/api/training/execute", {"recipe": "command", "command": ["true"]})
        code = server.process.wait(30)

        assert code == 0
        assert "term_lost" in server.log


def test_f6_headers_that_never_end_are_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(connection_module, "HEADER_SECONDS", 0.3)
    with served_here(tmp_path / "home") as port, raw_connection(port) as slow, raw_connection(port) as silent:
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: loc")
        status_code, headers, _ = read_answer(slow)

        assert (status_code, headers["content-type"]) == (408, "application/problem+json")
        assert silent.recv(10) == b""


def test_f6_a_body_that_stops_coming_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(door, "BODY_SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(door, "LINGER_SECONDS", 0.1)
    head = b"POST /api/training/execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with served_here(tmp_path / "home") as port, raw_connection(port) as slow:
        slow.sendall(head + b'Content-Length: 100\r\n\r\n{"rec')
        status_code, headers, body = read_answer(slow)

    assert (status_code, headers["connection"]) == (408, "close")
    assert b"body-too-slow" in body


def test_requests_on_one_connection_are_answered_in_order(server):
    request = b"GET /api/training/status/none-%d HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with raw_connection(server.port) as connection:
        connection.sendall(b"".join(request % number for number in range(5)))
        data = b""
        while data.count(b"HTTP/1.1 404") < 5 or not data.endswith(b"}"):
            data += connection.recv(65536)

    assert [data.index(b"job none-%d" % number) for number in range(5)] == sorted(
        data.index(b"job none-%d" % number) for number in range(5)
    )


class served_here:  # noqa: N801 - read as a phrase
    """A server in a thread of the test, so that its bounds can be made small."""

    def __init__(self, home) -> None:
        self.home = home
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    def __enter__(self) -> int:
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        wait_until(lambda: _can_connect(self.port))
        return self.port

    def __exit__(self, *_: object) -> None:
        self.house.scheduler.lost_term.set()
        self.thread.join(20)

        assert not self.thread.is_alive()

    def _serve(self) -> None:
        def remembered(settings: Settings):
            self.house = build(settings)
            return self.house

        serve(Settings(home=self.home, port=self.port), remembered)


def _can_connect(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
