"""A client of the event stream that sees every byte."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass
class Event:
    kind: str
    id: int
    data: dict[str, Any]


@dataclass
class StreamClient:
    """One connection to GET stream. Reads events one by one; `last_id` is what to resume after."""

    port: int
    query: str = ""
    last_id: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    receive_buffer: int | None = None

    connection: socket.socket | None = None

    def opened(self) -> Self:
        """Connect and wait for the first sign of life: from then on nothing is missed."""
        self._connect()
        block = self._next_block()
        assert block is not None
        self.last_id = int(block.rpartition("id: ")[2].split("\n")[0])
        return self

    def __enter__(self) -> Self:
        if self.connection is None:
            self._connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def _connect(self) -> None:
        self.connection = socket.socket()
        if self.receive_buffer:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        self.connection.settimeout(30)
        self.connection.connect(("127.0.0.1", self.port))
        resume = {} if self.last_id is None else {"Last-Event-ID": str(self.last_id)}
        lines = [f"{name}: {value}\r\n" for name, value in {**self.headers, **resume}.items()]
        head = f"GET /api/training/stream{self.query} HTTP/1.1\r\nHost: localhost\r\n{''.join(lines)}\r\n"
        self.connection.sendall(head.encode())
        self._data = b""
        self.head = self._read_until(b"\r\n\r\n").decode()
        self.status = int(self.head.split()[1])
        self._body = b""
        self.is_over = self.is_ended = False

    def events(self) -> Iterator[Event]:
        """Yield events until the server ends the stream."""
        while (block := self._next_block()) is not None:
            fields = dict(line.partition(": ")[::2] for line in block.split("\n") if not line.startswith(":"))
            if "id" in fields:
                self.last_id = int(fields["id"])
            if "data" in fields:
                yield Event(fields["event"], int(fields["id"]), json.loads(fields["data"]))

    def until(self, wanted) -> list[Event]:
        """Read events up to the first that `wanted` says yes to, that one included."""
        seen = []
        for event in self.events():
            seen.append(event)
            if wanted(event):
                return seen
        raise AssertionError(f"the stream ended before: {seen[-3:]}")

    def _next_block(self) -> str | None:
        while b"\n\n" not in self._body:
            if not self._read_chunk():
                return None
        block, _, self._body = self._body.partition(b"\n\n")
        return block.decode()

    def _read_chunk(self) -> bool:
        if self.is_over:
            return False
        try:
            size = int(self._read_until(b"\r\n"), 16)
            self._body += self._read_exactly(size + 2)[:-2]
            self.is_ended = size == 0
        except ConnectionError:
            size = 0
        self.is_over = size == 0
        return not self.is_over

    def _read_until(self, mark: bytes) -> bytes:
        while mark not in self._data:
            self._receive()
        found, _, self._data = self._data.partition(mark)
        return found

    def _read_exactly(self, size: int) -> bytes:
        while len(self._data) < size:
            self._receive()
        found, self._data = self._data[:size], self._data[size:]
        return found

    def _receive(self) -> None:
        piece = self.connection.recv(1 << 18)
        if not piece:
            raise ConnectionResetError("the server closed")
        self._data += piece
