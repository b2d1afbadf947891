"""The sockets that the server listens on. They are taken before anything else is touched."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from stoker.domain.errors import PortInUse, StokerError

BACKLOG = 2048


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Listen on every address that `host` stands for; 0 picks a free port. Raises `PortInUse`, `StokerError`."""
    sockets: list[socket.socket] = []
    try:
        for family, address in _addresses(host, port):
            taken = sockets[0].getsockname()[1] if sockets else port
            sockets.append(_listen(family, (address[0], taken, *address[2:])))
        yield sockets
    finally:
        for one in sockets:
            one.close()


def listen_on_path(path: Path) -> socket.socket:
    """Listen on a unix socket of mode 0600. A leftover is removed, for only the holder of the home comes here.

    The path may be longer than the kernel allows: it is named relative to its folder.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        path.chmod(0o600)
        listener.listen(BACKLOG)
    except OSError as error:
        raise StokerError(f"The socket {path} can't be made: {error.strerror}. Check the home's file system") from error
    finally:
        os.close(folder)
    return listener


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise StokerError(f"'{host}' is no address to listen on: {error.strerror}. Use an address or a name") from error
    unique = {(family, address[:2]): address for family, _, _, _, address in found}
    return [(family, address) for (family, _), address in unique.items()]  # type: ignore[misc]


def _listen(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        place = f"{address[0]} port {address[1]}"
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(f"{place} is in use by another program. Stop that one, or choose another --port") from error
        raise StokerError(f"Can't listen on {place}: {error.strerror}. Choose another --host or --port") from error
    return listener
