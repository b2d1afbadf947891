"""The supervisor's local socket: one JSON object per line each way, peers of the same user only.

Verbs: `hello` (who are you), `stop` (read stop.json now), `inspect` (what do you see), `ack` (the end was taken in).
Every answer carries `protocol` and `nonce`. The socket is only a hint and a shortcut: all that must last is in files,
so a supervisor whose socket was deleted still finds its stop request.
"""

from __future__ import annotations

import _socket  # the part of `socket` that is used here, for a megabyte less in each supervisor
import json
import os
import struct
import time

from stoker.rundir.durable import parse_object
from stoker.rundir.layout import AttemptDir

MAX_MESSAGE_BYTES = 1 << 16
_MOST_WAITING, _CROWDED_SECONDS = 64, 0.005


def address(directory_fd: int, name: str = "ctl.sock") -> str:
    """Give an address that is short enough for a unix socket however long the directory's path is."""
    return f"/proc/self/fd/{directory_fd}/{name}"


def listen(attempt: AttemptDir) -> _socket.socket:
    """Bind the socket of an attempt, mode 0600, non-blocking. A leftover of an earlier bind is removed."""
    directory = os.open(attempt.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if os.path.lexists(attempt.socket):
            os.unlink(attempt.socket)
        server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        server.setblocking(False)
        server.bind(address(directory))
        os.chmod(attempt.socket, 0o600)
        server.listen(_MOST_WAITING)
    finally:
        os.close(directory)
    return server


def accept(server: _socket.socket) -> _socket.socket | None:
    """Take the next waiting peer of the same user, non-blocking; None if there is none. Strangers are turned away."""
    try:
        descriptor, _ = server._accept()  # type: ignore[attr-defined]  # noqa: SLF001  what `socket` itself calls
    except BlockingIOError:
        return None
    connection = _socket.socket(fileno=descriptor)
    if peer_uid(connection) not in (0, os.getuid()):
        connection.close()
        return accept(server)
    connection.setblocking(False)
    return connection


def peer_uid(connection: _socket.socket) -> int:
    """Give the user id of the process at the other end, as the kernel knows it."""
    credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def encode(message: dict[str, object]) -> bytes:
    """Give a message as one line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def ask(attempt: AttemptDir, verb: str, nonce: str, timeout: float = 5.0) -> dict[str, object] | None:
    """Ask the supervisor of an attempt; None if none answers in time, or another one than `nonce` does."""
    try:
        directory = os.open(attempt.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        _connect(connection, address(directory), time.monotonic() + timeout)
        connection.sendall(encode({"verb": verb, "nonce": nonce}))
        answer = parse_object(_read_line(connection))
    except OSError:
        return None
    finally:
        connection.close()
        os.close(directory)
    return answer if answer is not None and answer.get("nonce") == nonce else None


def _connect(connection: _socket.socket, place: str, ends_at: float) -> None:
    """Connect. While too many others wait to be let in, the kernel does not wait with us but says so."""
    while True:
        try:
            connection.connect(place)
        except BlockingIOError:
            if time.monotonic() >= ends_at:
                raise
            time.sleep(_CROWDED_SECONDS)
        else:
            return


def _read_line(connection: _socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n") and len(data) < MAX_MESSAGE_BYTES:
        chunk = connection.recv(4096)
        if not chunk:
            break
        data += chunk
    return data
