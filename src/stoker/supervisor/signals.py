"""The signals of the supervisor: none ends it, and the two that mean something arrive as readable bytes."""

from __future__ import annotations

import os
import signal

IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGTSTP)
HEARD = (signal.SIGCHLD, signal.SIGTERM)


class Signals:
    """Hears of children that ended and of requests to stop."""

    def __init__(self) -> None:
        """Take over the handling of signals for the whole process."""
        self._reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        for number in HEARD:
            signal.signal(number, _hear)

    def fileno(self) -> int:
        """Give the descriptor that is readable after a signal."""
        return self._reader

    def take(self) -> bytes:
        """Take the numbers of the signals that came, a byte each."""
        try:
            return os.read(self._reader, 4096)
        except BlockingIOError:
            return b""


def _hear(number: int, frame: object) -> None:
    """Do nothing: the byte in the pipe is what counts."""
