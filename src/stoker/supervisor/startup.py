"""The start of a supervisor: take the attempt or leave it, become the owner of its processes, see it to its end."""

from __future__ import annotations

import os

from stoker.rundir.claim import claim_as_supervisor, is_abandoned, take_lock
from stoker.rundir.durable import replace
from stoker.rundir.layout import PROTOCOL, AttemptDir
from stoker.rundir.records import encode, read_order
from stoker.supervisor.containment import Containment
from stoker.supervisor.diagnostics import complain
from stoker.supervisor.ending import set_aside
from stoker.supervisor.kernel import adopt_orphans
from stoker.supervisor.loop import Supervisor
from stoker.supervisor.trainer import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stoker.rundir.records import Order

DONE, BAD_ORDER, BUSY = 0, 65, 75
"""Exit statuses from <sysexits.h>; none of them is ever a verdict on the job."""


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


def carry_out(attempt: AttemptDir, order: Order) -> None:
    """Put the supervisor on record, then run the trainer until it has ended."""
    set_aside(attempt)
    containment = Containment(order.attempt_id, order.containment)
    record = describe(os.getpid(), order, containment.group_path, containment.counting_path)
    replace(attempt.supervisor, encode(record))
    Supervisor(attempt, order, containment).run()
