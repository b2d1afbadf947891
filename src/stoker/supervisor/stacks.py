"""Evidence of a hang: what every process of the tree was doing, written down before it is killed.

It is gathered in a child of the supervisor, because the files of a process that hangs in the kernel may hang their
reader, and the trainer's output has to be taken meanwhile.
"""

from __future__ import annotations

import os
import signal
import time

from stoker.rundir.durable import read_regular, write_all
from stoker.rundir.identity import ProcessId, boot_id, read_proc, send_signal
from stoker.supervisor.descriptors import close_all_but
from stoker.supervisor.diagnostics import report_fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stoker.rundir.identity import ProcessStat
    from stoker.rundir.layout import RunDir

DUMP_SECONDS = 10.0
"""How long the whole dump may take; the stop goes on then."""

_PY_SPY_SECONDS = 3.0
_HANDLER_SECONDS = 0.5
_PAUSE_SECONDS = 0.01
_MOST_BYTES = 256 << 10


def start_dump(path: str, run: RunDir, found: list[ProcessStat], py_spy: str | None) -> int:
    """Begin to write the stacks of these processes to `path`, in a child whose pid is returned. May raise `OSError`."""
    pid = os.fork()
    if pid:
        return pid
    try:
        close_all_but(())  # the supervisor's lock must be free the moment it dies
        output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        for stat in found:
            _dump(output, run, stat, py_spy)
    except BaseException:  # noqa: BLE001  this process has no one to raise to
        report_fault()
    finally:
        os._exit(0)


def _dump(output: int, run: RunDir, stat: ProcessStat, py_spy: str | None) -> None:
    command = read_proc(f"{stat.pid}/cmdline").replace(b"\0", b" ").decode("utf-8", "replace")
    _say(output, f"=== process {stat.pid} ({stat.name}), state {stat.state}, parent {stat.parent}: {command}\n")
    for thread in _threads(stat.pid):
        _say(output, _describe_thread(stat.pid, thread))
    if py_spy is not None:
        _run_py_spy(output, py_spy, stat.pid)
    _ask_handler(output, run, stat)
    _say(output, "\n")


def _threads(pid: int) -> list[str]:
    try:
        return sorted(os.listdir(f"/proc/{pid}/task"), key=int)
    except OSError:
        return []


def _describe_thread(pid: int, thread: str) -> str:
    """Give one thread as the kernel sees it: state, what it waits in, its system call, its kernel stack."""
    place = f"{pid}/task/{thread}"
    name, status = read_proc(f"{place}/comm").strip(), read_proc(f"{place}/stat")
    state = status[status.rfind(b")") + 2 :][:1]
    waits, call = read_proc(f"{place}/wchan"), read_proc(f"{place}/syscall").strip()
    head = b"thread %s (%s) state %s wchan %s syscall %s" % (thread.encode(), name, state, waits, call)
    stack = [b"    " + line for line in read_proc(f"{place}/stack").splitlines()]
    return b"\n".join([head, *stack]).decode("utf-8", "replace") + "\n"


def _run_py_spy(output: int, program: str, pid: int) -> None:
    _say(output, "--- py-spy\n")
    actions = [(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
    try:
        child = os.posix_spawn(program, [program, "dump", "--pid", str(pid)], {}, file_actions=actions)
    except OSError as error:
        _say(output, f"{program} could not be run: {error.strerror}\n")
        return
    ends_at = time.monotonic() + _PY_SPY_SECONDS
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > ends_at:
            os.kill(child, signal.SIGKILL)  # our own child, which nobody else waits for
            _say(output, f"py-spy was stopped after {_PY_SPY_SECONDS:.0f} seconds\n")
            ends_at = float("inf")
        time.sleep(_PAUSE_SECONDS)


def _ask_handler(output: int, run: RunDir, stat: ProcessStat) -> None:
    """Have a process write its own stacks, if it left the file that says it will; any other would die of the signal."""
    before = read_regular(run.stacks(stat.pid), _MOST_BYTES)
    if before is None or not send_signal(ProcessId(boot_id(), stat.pid, stat.start), signal.SIGUSR1):
        return
    _say(output, "--- faulthandler\n")
    ends_at, written = time.monotonic() + _HANDLER_SECONDS, before
    while time.monotonic() < ends_at:
        time.sleep(_PAUSE_SECONDS)
        last, written = written, read_regular(run.stacks(stat.pid), _MOST_BYTES) or before
        if last == written != before:  # it grew and has stopped growing
            break
    write_all(output, written[len(before) :])


def _say(output: int, text: str) -> None:
    write_all(output, text.encode())
