"""Where the server is: what was said, else its own user's socket, else the usual port of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from stoker.client.errors import ClientError
from stoker.settings import DEFAULT_PORT, default_home

SOCKET_NAME = "server.sock"
LONGEST_SOCKET_PATH = 107


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """A server's address: a unix socket, or a host and a port. `path` goes before every route."""

    host: str
    port: int
    is_tls: bool = False
    socket: str | None = None
    path: str = ""

    def __str__(self) -> str:
        """Say it as a URL."""
        if self.socket is not None:
            return f"unix:{self.socket}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.is_tls else 'http'}://{host}:{self.port}{self.path}"

    @property
    def base(self) -> str:
        """The URL that routes are put behind; the host of one that is reached by its socket is only a name."""
        return "http://localhost" if self.socket is not None else str(self)


def find_address(url: str | None = None, environment: Mapping[str, str] | None = None) -> Address:
    """Give the address to use: `url`, else STOKER_URL, else the default home's socket, else the default port.

    Raises `ClientError` for a URL that is none. `unix:/path/to/server.sock` names a socket.
    """
    environment = os.environ if environment is None else environment
    if named := url or environment.get("STOKER_URL"):
        return _parse(named)
    socket = str(default_home(environment) / SOCKET_NAME)
    if os.path.exists(socket):
        return Address(host="localhost", port=0, socket=socket)
    return Address(host="127.0.0.1", port=DEFAULT_PORT)


@contextmanager
def short_path(socket: str) -> Iterator[str]:
    """Lend a path to a unix socket that is short enough for the kernel, which takes 107 bytes. Raises `OSError`."""
    if len(os.fsencode(socket)) <= LONGEST_SOCKET_PATH:
        yield socket
        return
    folder, name = os.path.split(socket)
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


def _parse(url: str) -> Address:
    if url.startswith("unix:"):
        path = unquote(url.removeprefix("unix:"))
        return Address(host="localhost", port=0, socket="/" + path.lstrip("/") if path.startswith("/") else path)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _not_a_url(url) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise _not_a_url(url)
    is_tls = parts.scheme == "https"
    return Address(
        host=parts.hostname, port=port or (443 if is_tls else 80), is_tls=is_tls, path=parts.path.rstrip("/")
    )


def _not_a_url(url: str) -> ClientError:
    return ClientError(
        f"'{url}' is no address of a server. Use http://HOST:PORT, https://HOST or unix:/path/to/server.sock"
    )
