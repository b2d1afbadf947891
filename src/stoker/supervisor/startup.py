"""The start of a supervisor: take the attempt or leave it, become the owner of its processes, see it to its end."""

from __future__ import annotations

import ctypes
import os

from stoker.rundir.claim import claim_as_supervisor, is_abandoned, take_lock
from stoker.rundir.durable import write_durably
from stoker.rundir.layout import PROTOCOL, AttemptDir
from stoker.rundir.records import encode, read_order
from stoker.supervisor.diagnostics import complain
from stoker.supervisor.ending import set_aside
from stoker.supervisor.loop import Supervisor
from stoker.supervisor.trainer import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stoker.rundir.records import Order

DONE, BAD_ORDER, BUSY = 0, 65, 75
"""Exit statuses from <sysexits.h>; none of them is ever a verdict on the job."""

_PR_SET_CHILD_SUBREAPER = 36


def supervise(root: str) -> int:
    """Carry out the order in the attempt directory `root`; return the exit status."""
    os.umask(0o077)
    attempt = AttemptDir(root)
    if take_lock(attempt) is None:
        complain("Another supervisor has this attempt")
        return BUSY
    order = read_order(attempt.order)
    if order is None or order.protocol > PROTOCOL:
        complain(f"{attempt.order} can't be understood: it is not whole, or of a newer version")
        return BAD_ORDER
    if not claim_as_supervisor(attempt):
        return DONE if is_abandoned(attempt) else BUSY
    adopt_orphans()
    carry_out(attempt, order)
    return DONE


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own, so that none can slip away."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def carry_out(attempt: AttemptDir, order: Order) -> None:
    """Put the supervisor on record, then run the trainer until it has ended."""
    set_aside(attempt)
    write_durably(attempt.supervisor, encode(describe(os.getpid(), order)))
    Supervisor(attempt, order).run()
