"""A job that resists its end, for the demonstration: it ignores SIGTERM, leaves its session, and forks away.

Run as a script with the path of a file into which every process writes its number. Standard library only.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

PROCESSES = 4


def main(path: str) -> None:
    """Start the tree and live for ever."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _fork(lambda: _stay("ignores SIGTERM", path))
    _fork(lambda: _leave_session(path))
    _fork(lambda: _become_daemon(path))
    _stay("the job itself", path)


def _leave_session(path: str) -> None:
    os.setsid()
    _stay("in a session of its own", path)


def _become_daemon(path: str) -> None:
    """Fork twice, so that the parent is gone, and clear the environment, so that no mark is left."""
    os.setsid()
    if os.fork():
        os._exit(0)
    os.execve(sys.executable, [sys.executable, "-IS", __file__, "--daemon", path], {})  # noqa: S606


def _fork(child: Callable[[], None]) -> None:
    if os.fork() == 0:
        child()
        os._exit(0)


def _stay(what: str, path: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{os.getpid()} {what}\n".encode())
    os.close(descriptor)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    if sys.argv[1] == "--daemon":
        _stay("a daemon with a cleared environment", sys.argv[2])
    main(sys.argv[1])
