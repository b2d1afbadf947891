"""System calls that Python has no name for."""

from __future__ import annotations

import ctypes
import os
import signal

from stoker.rundir.identity import read_proc

_PR_SET_CHILD_SUBREAPER = 36
_CLONE3 = 435  # on every architecture but alpha, where it fails
_CLONE_INTO_CGROUP = 0x200000000
_CLONE_ARGS_FIELDS = 11
_EXIT_SIGNAL, _CGROUP = 4, 10
_MADV_DONTNEED = 4
_FIELDS_OF_FILE = 6

# Keeps the interpreter's lock across a call, so that a child that is cloned has it too.
_library = ctypes.PyDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own, so that none can slip away. Raises `OSError`."""
    if _library.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise _error()


def fork_into(group: str) -> int:
    """Fork a child that is born in a control group; 0 in the child. Raises `OSError`.

    To move a process into a group later takes the kernel a grace period of several milliseconds. Only for a process
    with one thread whose child soon becomes another program: what Python does after a fork is not done.
    """
    folder = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fields = (ctypes.c_uint64 * _CLONE_ARGS_FIELDS)(_CLONE_INTO_CGROUP)
        fields[_EXIT_SIGNAL], fields[_CGROUP] = signal.SIGCHLD, folder
        pid = int(_library.syscall(_CLONE3, fields, ctypes.sizeof(fields)))
    finally:
        os.close(folder)
    if pid < 0:
        raise _error()
    return pid


def give_back_code() -> None:
    """Let go of the interpreter's code pages that only the start needed; those that run again come back by themselves.

    They are a megabyte and more of a supervisor that runs where no other Python does. A hint: nothing is raised.
    """
    for line in read_proc("self/maps").splitlines():
        fields = line.split()
        if len(fields) == _FIELDS_OF_FILE and fields[1] == b"r-xp":
            begin, end = (int(part, 16) for part in fields[0].split(b"-"))
            _library.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _MADV_DONTNEED)


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
