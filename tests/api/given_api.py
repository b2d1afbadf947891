"""The application without a socket, and raw requests to a real one."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from fastapi import FastAPI

from stoker.api.app import create_app
from stoker.domain.actor import Scope
from stoker.engines.local import LocalEngine
from stoker.recipes.registry import get
from stoker.service.context import Context
from stoker.service.keys import KeyRequest, create_key
from stoker.settings import Settings
from stoker.store.sql import open_store
from tests.server import Answer
from tests.waiting import wait_until

NOBODY = 65534
BASE_HEADERS = {"host": "localhost:8000"}


class Application:
    """An application in a loop of its own thread. Requests come from the own user unless told otherwise."""

    def __init__(self, home: Path, **settings: Any) -> None:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.settings = Settings(home=home, **settings)
        self.store = open_store(home / "stoker.db")
        self.engine = LocalEngine(self.settings.attempts_root)
        self.is_ready = True
        self.context = Context(
            settings=self.settings,
            store=self.store,
            engine=self.engine,
            recipe=get,
            wake=lambda: None,
            reconcile=dict,
        )
        self.app: FastAPI = create_app(self.context, is_ready=lambda: self.is_ready, max_body=1 << 20)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._lifespan = self.app.router.lifespan_context(self.app)
        self.run(self._lifespan.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._lifespan.__aexit__(None, None, None))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
        self.engine.close()
        self.store.close()

    def run(self, work: Any, seconds: float = 30.0) -> Any:
        """Run a coroutine in the loop and give what it gives."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(seconds)

    def key(self, owner: str = "ada", *scopes: Scope, days: float | None = None) -> str:
        """Make a key; without scopes it has the usual ones."""
        usual = KeyRequest(owner=owner).scopes
        request = KeyRequest(owner=owner, scopes=tuple(scopes) or usual, days=days)
        return create_key(self.store, request, self.context.now())[0]

    def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | list[tuple[str, str]] = (),
        body: object = None,
        is_own: bool = True,
        server: tuple[str, int] = ("127.0.0.1", 8000),
    ) -> Answer:
        """Ask as a connection would. `headers` are added to a Host; a body that is no bytes is sent as JSON."""
        listed = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        if not any(name.lower() == "host" for name, _ in listed):
            listed = [*BASE_HEADERS.items(), *listed]
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if body is not None and not any(name.lower() == "content-type" for name, _ in listed):
            listed.append(("content-type", "application/json"))
        if data and not any(name.lower() == "content-length" for name, _ in listed):
            listed.append(("content-length", str(len(data))))
        target, _, query = path.partition("?")
        scope = _scope(method, target, query, listed, server) | {"state": {"is_own": is_own}}
        return self.run(_exchange(self.app, scope, data))


class Reading:
    """A stream of an application that is read while it is open; `data` is what came so far."""

    def __init__(self, application: Application, query: str, headers: Mapping[str, str] | None = None) -> None:
        listed = [*BASE_HEADERS.items(), *(headers or {}).items()]
        scope = _scope("GET", "/api/training/stream", query.removeprefix("?"), listed, ("127.0.0.1", 8000))
        self._scope = scope | {"state": {"is_own": True}}
        self._application = application
        self.data = b""

    def __enter__(self) -> Self:
        self._left = asyncio.Event()
        self._task = asyncio.run_coroutine_threadsafe(self._read(), self._application.loop)
        return self

    def __exit__(self, *_: object) -> None:
        self._application.loop.call_soon_threadsafe(self._left.set)
        self._task.result(20)

    async def _read(self) -> None:
        is_asked = False

        async def receive() -> dict:
            nonlocal is_asked
            if not is_asked:
                is_asked = True
                return _body(b"")
            await self._left.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict) -> None:
            self.data += message.get("body", b"")

        await self._application.app(self._scope, receive, send)


def kinds_seen(application: Application, last_id: int, count: int) -> list[str]:
    """Give the kinds of the first events after an id."""
    with Reading(application, f"?last_event_id={last_id}") as reading:
        wait_until(lambda: reading.data.count(b"event: ") >= count)
        return [
            line.removeprefix("event: ") for line in reading.data.decode().split("\n") if line.startswith("event: ")
        ]


def _scope(method: str, path: str, query: str, headers: list[tuple[str, str]], server: tuple[str, int]) -> dict:
    common = {
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "client": ("127.0.0.1", 40000),
        "server": server,
    }
    if method == "WEBSOCKET":
        extensions = {"websocket.http.response": {}}
        return common | {"type": "websocket", "scheme": "ws", "subprotocols": [], "extensions": extensions}
    return common | {"type": "http", "scheme": "http", "method": method}


async def _exchange(app: FastAPI, scope: dict, body: bytes) -> Answer:
    messages: list[dict] = []
    is_websocket = scope["type"] == "websocket"
    incoming = [{"type": "websocket.connect"}] if is_websocket else [_body(body)]

    async def receive() -> dict:
        if incoming:
            return incoming.pop(0)
        if not is_websocket:
            await asyncio.sleep(3600)
        return {"type": "websocket.disconnect" if is_websocket else "http.disconnect", "code": 1000}

    async def send(message: dict) -> None:
        messages.append(message)

    async with asyncio.timeout(20):
        await app(scope, receive, send)
    return _answer(messages)


def _body(body: bytes) -> dict:
    return {"type": "http.request", "body": body, "more_body": False}


def _answer(messages: list[dict]) -> Answer:
    first = messages[0]
    if first["type"] == "websocket.accept":
        return Answer(101, [json.loads(m["text"]) for m in messages if m["type"] == "websocket.send"], {})
    headers = {name.decode().lower(): value.decode("latin-1") for name, value in first["headers"]}
    data = b"".join(message.get("body", b"") for message in messages[1:])
    return Answer(first["status"], json.loads(data) if "json" in headers.get("content-type", "") else data, headers)


@contextlib.contextmanager
def raw_connection(port: int, address: str = "127.0.0.1") -> Iterator[socket.socket]:
    """Connect without any client's help."""
    with socket.create_connection((address, port), timeout=20) as connection:
        yield connection


def exchange_raw(port: int, data: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes and read one whole answer: its status, its headers and its body."""
    with raw_connection(port) as connection:
        connection.sendall(data)
        return read_answer(connection)


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one answer that has a length."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError(f"the server closed after {data!r}")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return int(lines[0].split()[1]), headers, body


AS_NOBODY = """
import encodings.idna, http.client, json, os, socket, sys
port, method, path, headers = int(sys.argv[1]), sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
os.setgroups([])
os.setgid({0})
os.setuid({0})
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
connection.request(method, path, headers=headers)
response = connection.getresponse()
print(json.dumps([response.status, response.read().decode()]))
""".replace("{0}", str(NOBODY))


def ask_as_nobody(port: int, method: str, path: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Ask as another user of this machine. Only root can become one."""
    arguments = [str(port), method, path, json.dumps(dict(headers or {}))]
    command = [sys.executable, "-c", AS_NOBODY, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    status, text = json.loads(done.stdout)
    return Answer(status, json.loads(text))
