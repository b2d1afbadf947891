"""Who decides an attempt: the claim settles it once and for ever, the lock says whether the supervisor lives."""

from __future__ import annotations

import fcntl
import os
import time

from stoker.rundir.durable import create, create_durably, read_regular
from stoker.rundir.layout import AttemptDir

_TRIES, _PAUSE_SECONDS = 40, 0.005


def claim_as_supervisor(attempt: AttemptDir) -> bool:
    """Claim the attempt for the calling supervisor; False if it was given up before.

    Not durable by itself: the claim settles a race of two live processes, which no reboot continues.
    """
    return create(attempt.claim, f"supervisor {os.getpid()}\n".encode())


def abandon(attempt: AttemptDir, epoch: int) -> bool:
    """Give the attempt up before its supervisor claimed it; False if the supervisor was first and owns it."""
    return create_durably(attempt.claim, f"abandoned epoch={epoch}\n".encode()) or is_abandoned(attempt)


def is_claimed(attempt: AttemptDir) -> bool:
    """Tell whether the attempt was decided by either side."""
    return os.path.exists(attempt.claim)


def is_abandoned(attempt: AttemptDir) -> bool:
    """Tell whether the attempt was given up, so that no supervisor will ever carry it out."""
    return (read_regular(attempt.claim) or b"").startswith(b"abandoned")


def take_lock(attempt: AttemptDir) -> int | None:
    """Lock the attempt for the life of this process; None if another process holds it.

    A reader that only looks holds a shared lock for an instant, so a busy lock is tried again for a moment.
    """
    descriptor = os.open(attempt.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_SECONDS)
        else:
            return descriptor
    os.close(descriptor)
    return None


def is_locked(attempt: AttemptDir) -> bool:
    """Tell whether a supervisor holds the lock, that is: lives. The kernel frees it on death."""
    try:
        descriptor = os.open(attempt.lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
