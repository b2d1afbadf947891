"""The supervisor's local socket: a hint that never hangs and never misleads."""

import contextlib
import os
import socket
import threading
import time

import pytest

from stoker.rundir import wire
from stoker.rundir.layout import AttemptDir


@pytest.fixture
def attempt(tmp_path):
    return AttemptDir(str(tmp_path))


@contextlib.contextmanager
def answering(attempt, answer):
    """Serve one question at the attempt's socket; `answer` gets the question and the connection."""
    server = wire.listen(attempt)
    asked = []

    def serve():
        while not (connection := wire.accept(server)):
            time.sleep(0.001)
        with contextlib.closing(connection):
            connection.settimeout(5)
            asked.append(connection.recv(4096))
            with contextlib.suppress(OSError):
                answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    yield asked
    thread.join()
    server.close()


def reply(**message):
    return lambda connection: connection.sendall(wire.encode(message))


def test_a_question_is_answered(attempt):
    with answering(attempt, reply(nonce="n", protocol=1, phase="training")) as asked:
        answer = wire.ask(attempt, "inspect", "n")

    assert answer == {"nonce": "n", "protocol": 1, "phase": "training"}
    assert asked == [b'{"verb":"inspect","nonce":"n"}\n']


def test_an_answer_in_pieces_is_put_together(attempt):
    def drip(connection):
        for byte in wire.encode({"nonce": "n", "x": "y" * 100}):
            connection.sendall(bytes([byte]))

    with answering(attempt, drip):
        assert wire.ask(attempt, "hello", "n")["x"] == "y" * 100


STRANGE = {
    "another nonce": reply(nonce="other"),
    "no nonce": reply(protocol=1),
    "no JSON": lambda connection: connection.sendall(b"hello\n"),
    "half an answer": lambda connection: connection.sendall(b'{"nonce":"n"'),
    "nothing": lambda _connection: None,
    "an answer without end": lambda connection: connection.sendall(b"x" * (1 << 20)),
}


@pytest.mark.parametrize("answer", STRANGE.values(), ids=STRANGE.keys())
def test_whatever_else_answers_is_no_answer(attempt, answer):
    with answering(attempt, answer):
        assert wire.ask(attempt, "hello", "n", timeout=2.0) is None


def test_a_peer_that_hangs_is_given_up_in_time(attempt):
    server = wire.listen(attempt)  # listens and never accepts
    began = time.monotonic()

    assert wire.ask(attempt, "hello", "n", timeout=0.2) is None
    assert time.monotonic() - began < 2.0
    server.close()


def crowded(attempt):
    """Connect until the queue of those who wait to be let in is full; give them."""
    waiting = []
    while True:
        peer = socket.socket(socket.AF_UNIX)
        waiting.append(peer)
        peer.setblocking(False)
        try:
            peer.connect(attempt.socket)
        except BlockingIOError:
            return waiting


def test_a_crowd_that_is_never_let_in_is_given_up_in_time(attempt):
    server = wire.listen(attempt)
    waiting = crowded(attempt)
    began = time.monotonic()

    assert wire.ask(attempt, "hello", "n", timeout=0.3) is None
    assert 0.2 < time.monotonic() - began < 3.0
    for peer in [*waiting, server]:
        peer.close()


def test_a_question_waits_its_turn_in_a_crowd(attempt):
    server = wire.listen(attempt)
    waiting = crowded(attempt)

    def serve():
        time.sleep(0.1)
        while not (connection := wire.accept(server)) or not answered(connection):
            time.sleep(0.001)

    def answered(connection):
        with contextlib.closing(connection):
            connection.settimeout(0.005)
            with contextlib.suppress(TimeoutError):
                if b"hello" in connection.recv(4096):
                    connection.sendall(wire.encode({"nonce": "n"}))
                    return True
        return False

    thread = threading.Thread(target=serve)
    thread.start()
    answer = wire.ask(attempt, "hello", "n", timeout=10.0)
    thread.join()

    assert answer == {"nonce": "n"}
    for peer in [*waiting, server]:
        peer.close()


def test_where_nobody_listens_there_is_no_answer(attempt):
    assert wire.ask(attempt, "hello", "n") is None
    wire.listen(attempt).close()
    assert wire.ask(attempt, "hello", "n") is None
    assert wire.ask(AttemptDir("/nowhere"), "hello", "n") is None


def test_the_directory_may_lie_as_deep_as_it_likes(tmp_path):
    deep = tmp_path / ("a" * 100) / ("b" * 100) / ("c" * 100)
    deep.mkdir(parents=True)
    attempt = AttemptDir(str(deep))
    with answering(attempt, reply(nonce="n")):
        answer = wire.ask(attempt, "hello", "n")

    assert len(attempt.socket) > 300
    assert answer == {"nonce": "n"}


def test_the_socket_is_its_users_alone_and_replaces_a_leftover(attempt):
    wire.listen(attempt).close()
    server = wire.listen(attempt)

    assert os.stat(attempt.socket).st_mode & 0o777 == 0o600
    assert wire.accept(server) is None
    server.close()


def test_peers_of_other_users_are_turned_away(attempt, monkeypatch):
    server = wire.listen(attempt)
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(attempt.socket)
        monkeypatch.setattr(wire, "peer_uid", lambda _connection: os.getuid() + 12345)

        assert wire.accept(server) is None
        assert peer.recv(1) == b""
    server.close()


def test_the_kernel_says_who_the_peer_is(attempt):
    server = wire.listen(attempt)
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(attempt.socket)
        connection = wire.accept(server)

        assert wire.peer_uid(connection) == os.getuid()
        connection.close()
    server.close()


def test_a_socket_that_was_deleted_is_no_answer(attempt):
    server = wire.listen(attempt)
    os.unlink(attempt.socket)

    assert wire.ask(attempt, "hello", "n") is None
    server.close()
