"""The supervisor's end of the local socket: answers peers of the same user, and never waits for any."""

from __future__ import annotations

import os

from stoker.rundir import wire
from stoker.rundir.durable import parse_object
from stoker.rundir.layout import PROTOCOL

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    Answer = Callable[[str], dict[str, object]]

MOST_PEERS = 16


class Listener:
    """Accepts peers and hands each verb to `answer`. What is readable is the caller's to find out."""

    def __init__(self, server: _socket.socket, nonce: str, answer: Answer) -> None:
        """Take a bound socket."""
        self._server, self._nonce, self._answer = server, nonce, answer
        self._peers: dict[int, tuple[_socket.socket, bytes]] = {}

    def fileno(self) -> int:
        """Give the descriptor that is readable while peers wait to be let in."""
        return self._server.fileno()

    def welcome(self) -> list[int]:
        """Let waiting peers in, and give the descriptors to listen on; the one here longest makes room."""
        new = []
        while (peer := wire.accept(self._server)) is not None:
            self._peers[peer.fileno()] = (peer, b"")
            new.append(peer.fileno())
            if len(self._peers) > MOST_PEERS:
                self.dismiss(next(iter(self._peers)))
        # A descriptor of one that had to go may be another's by now.
        return [descriptor for descriptor in dict.fromkeys(new) if descriptor in self._peers]

    def knows(self, descriptor: int) -> bool:
        """Tell whether a descriptor is a peer's."""
        return descriptor in self._peers

    def hear(self, descriptor: int) -> None:
        """Take what a peer says and answer every whole line."""
        peer, said = self._peers[descriptor]
        try:
            piece = peer.recv(4096)
            said += piece
            *lines, said = said.split(b"\n")
            for line in lines:
                peer.send(wire.encode(self._respond(line)))
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece or len(said) > wire.MAX_MESSAGE_BYTES:
            self.dismiss(descriptor)
        else:
            self._peers[descriptor] = (peer, said)

    def dismiss(self, descriptor: int) -> None:
        """Close a peer's connection; a poll set forgets it by itself."""
        peer, _ = self._peers.pop(descriptor)
        peer.close()

    def close(self) -> None:
        """Let nobody in any more; who was let in is cut off when the process ends."""
        self._server.close()

    def _respond(self, line: bytes) -> dict[str, object]:
        message = parse_object(line) or {}
        base: dict[str, object] = {"protocol": PROTOCOL, "nonce": self._nonce, "pid": os.getpid()}
        verb = message.get("verb")
        if message.get("nonce") != self._nonce or not isinstance(verb, str):
            return base | {"error": "This is another attempt's supervisor, or the message has no verb"}
        return base | self._answer(verb)
