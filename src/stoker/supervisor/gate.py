"""The gate between fork and exec: the main process waits there until it is on record, and learns what to run.

What it is to run comes through the gate, so that a process which is ready and warm may wait there as well. If the
supervisor dies first, the gate breaks and the process ends without having run anything.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import time

from stoker.rundir.durable import parse_object, write_all
from stoker.supervisor.descriptors import close_all_but, redirect
from stoker.supervisor.diagnostics import report_fault
from stoker.supervisor.kernel import fork_into

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

BROKEN = 70
"""The exit status of a process that never got past the gate."""

OOM_MORE = 500
"""How much rather the kernel should kill a trainer than its supervisor, of 1000."""

_ABOUT_TO = b"!"
_FORK_TRIES, _FORK_PAUSE_SECONDS = 6, 0.1
_BUSY = (errno.EAGAIN, errno.ENOMEM)


class Gate:
    """The supervisor's side: the process that waits, and the two pipes to it."""

    def __init__(self, pid: int, entrance: int, report: int, *, is_in_group: bool) -> None:
        """Take the process, the pipe that it waits on, and the pipe through which it says how far it came."""
        self.pid, self.is_in_group = pid, is_in_group
        self.report = report
        self._entrance = entrance
        self._said = b""

    def open(self, argv: tuple[str, ...], env: dict[str, str], cwd: str | None) -> None:
        """Let the process pass; quiet if it is gone, its end tells the rest."""
        message = json.dumps({"argv": argv, "env": env, "cwd": cwd}).encode() + b"\n"
        try:
            write_all(self._entrance, message)
        except BrokenPipeError:
            return
        finally:
            self.shut()

    def shut(self) -> None:
        """Give up the entrance; a process that still waits ends with `BROKEN`."""
        if self._entrance >= 0:
            os.close(self._entrance)
            self._entrance = -1

    def hear(self) -> bool:
        """Take all that the process has said, without waiting; True once all is said, as it is when it has ended."""
        try:
            while piece := os.read(self.report, 4096):
                self._said += piece
        except BlockingIOError:
            return False
        return True

    @property
    def has_passed(self) -> bool:
        """Tell whether the process runs the job's own program, or did; known once all is said."""
        return self._said == _ABOUT_TO

    @property
    def failure(self) -> dict[str, object] | None:
        """What kept the process from running the program; None if nothing did."""
        return parse_object(self._said.removeprefix(_ABOUT_TO))


def fork_held(log: int, group: str | None) -> Gate:
    """Fork the main process and hold it at the gate, with `log` as its output; in a control group where it can be.

    Raises `OSError` if no process can be had.
    """
    entrance, waiting = os.pipe()[::-1]
    report, saying = os.pipe()
    os.set_blocking(report, False)
    pid, is_in_group = _fork_patiently(group)
    if pid == 0:
        _run(waiting, saying, log)
    os.close(waiting)
    os.close(saying)
    return Gate(pid, entrance, report, is_in_group=is_in_group)


def _fork_patiently(group: str | None) -> tuple[int, bool]:
    """Fork, and try again while the machine is short of processes or memory."""
    for _ in range(_FORK_TRIES):
        try:
            return _fork(group)
        except OSError as error:
            if error.errno not in _BUSY:
                raise
            time.sleep(_FORK_PAUSE_SECONDS)
    return _fork(group)


def _fork(group: str | None) -> tuple[int, bool]:
    """Fork, into the group where the kernel can do that; tell whether it did."""
    try:
        return (os.fork(), False) if group is None else (fork_into(group), True)
    except OSError as error:
        if error.errno in _BUSY:
            raise
    return os.fork(), False


def _run(waiting: int, saying: int, log: int) -> NoReturn:
    """Be the child: wait, then become the program. Nothing that happens here may reach the supervisor's own code."""
    try:
        _prepare(waiting, saying, log)
        message = _await_message(waiting)
        if message is not None:
            _become(message, saying)
    except BaseException:  # noqa: BLE001  this process has no one to raise to
        report_fault()
    finally:
        os._exit(BROKEN)


def _prepare(waiting: int, saying: int, log: int) -> None:
    os.setsid()
    redirect(os.open(os.devnull, os.O_RDONLY), log)
    close_all_but((waiting, saying))
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _be_killed_first()


def _be_killed_first() -> None:
    try:
        with open("/proc/self/oom_score_adj", "r+b", buffering=0) as file:
            file.write(b"%d" % min(1000, int(file.read()) + OOM_MORE))
    except OSError:
        return


def _await_message(waiting: int) -> dict[str, object] | None:
    pieces = []
    while piece := os.read(waiting, 1 << 16):
        pieces.append(piece)
        if piece.endswith(b"\n"):
            return parse_object(b"".join(pieces))
    return None


def _become(message: dict[str, object], saying: int) -> None:
    step = "cwd"
    try:
        if message["cwd"] is not None:
            os.chdir(message["cwd"])  # type: ignore[arg-type]
        step = "exec"
        os.write(saying, _ABOUT_TO)
        _execute(message["argv"], message["env"])  # type: ignore[arg-type]
    except (OSError, ValueError) as error:
        number = error.errno if isinstance(error, OSError) else None
        os.write(saying, json.dumps({"step": step, "errno": number, "text": str(error)}).encode())


def _execute(argv: list[str], env: dict[str, str]) -> None:
    """Become `argv`, looked for on the PATH that the program itself will have."""
    if "/" in argv[0]:
        os.execve(argv[0], argv, env)  # noqa: S606  no shell is what is wanted
    last: OSError = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    for folder in env.get("PATH", os.defpath).split(os.pathsep):
        try:
            os.execve(os.path.join(folder or ".", argv[0]), argv, env)  # noqa: S606  as above
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            last = error
    raise last


def explain(failure: dict[str, object], argv: tuple[str, ...], cwd: str | None) -> str:
    """Say in a sentence why the program did not run, and what to do."""
    number = failure.get("errno")
    text = os.strerror(number) if isinstance(number, int) else str(failure.get("text"))
    if failure.get("step") == "cwd":
        return f"The working directory {cwd} can't be entered: {text}. Give a directory that exists and is yours"
    return f"The program {argv[0]} {_trouble(argv[0], number, text)}"


def _trouble(program: str, number: object, text: str) -> str:
    match number:
        case errno.ENOENT if "/" in program:
            return "was not found, or what its first line names was not. Check the command's path"
        case errno.ENOENT:
            return "was not found on the job's PATH. Give its full path, or install it"
        case errno.EACCES:
            return f"may not be executed: {text}. Make it executable (chmod +x)"
        case errno.ENOEXEC:
            return "can't be executed: it is no binary and its first line names no interpreter"
        case errno.E2BIG:
            return "can't be started: its arguments and environment are too long. Pass large values in files"
    return f"can't be started: {text}"
