"""The machine: the interpreter, the kernel's means, the limits of this user, the clock."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator

from stoker.cli.checks.finding import Finding, fault, note, ok, warning
from stoker.engines.inotify import Inotify
from stoker.supervisor.containment import make_group, remove_group

MENDED_SQLITE = (3, 51, 3)
MENDED_BRANCHES = {(3, 44): 6, (3, 50): 7}
"""Versions of SQLite without the WAL-reset bug, and the older branches that got the correction."""

PR_SET_CHILD_SUBREAPER = 36
FEW_FILES, FEW_PROCESSES, FEW_INSTANCES, FEW_WATCHES = 1024, 512, 16, 1024
LITTLE_SHARED_MEMORY = 256 << 20
SHARED = "/dev/shm"  # noqa: S108 - looked at, not written to
MEBIBYTE = 1 << 20
OLDEST_SENSIBLE_TIME = 1_735_689_600.0  # 2025-01-01


def check_machine() -> Iterator[Finding]:
    """Look at all of it."""
    yield ok("python", f"{platform.python_version()} at {sys.executable}")
    yield check_sqlite(sqlite3.sqlite_version_info)
    yield check_pidfd()
    yield check_subreaper()
    yield check_cgroup()
    yield check_inotify()
    yield from check_limits()
    yield check_shared_memory()
    yield check_clock(time.time())
    yield check_stack_dumps()


def check_sqlite(version: tuple[int, ...]) -> Finding:
    """Say whether this SQLite has the WAL-reset bug, and why it does no harm here."""
    told = ".".join(map(str, version))
    patch = MENDED_BRANCHES.get((version[0], version[1]))
    if version >= MENDED_SQLITE or (patch is not None and version[2] >= patch):
        return ok("sqlite", told)
    return note(
        "sqlite",
        f"{told} can lose committed data when two connections write or reset the write-ahead log at once. "
        "The server avoids it: one connection does all writes and all checkpoints",
        "Let no other program open stoker.db for writing while the server runs; 3.51.3 has it mended",
    )


def check_pidfd() -> Finding:
    """Say whether processes can be signalled without mistaking one for another."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        return fault("pidfd", f"processes can't be held by a descriptor: {error.strerror}", "Use Linux 5.4 or newer")
    return ok("pidfd", f"Linux {platform.release()}")


def check_subreaper() -> Finding:
    """Say whether a supervisor can keep the orphans of its job."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        why = os.strerror(ctypes.get_errno())
        return fault("subreaper", f"orphans can't be kept: {why}", "Allow prctl(PR_SET_CHILD_SUBREAPER) here")
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    return ok("subreaper", "orphans of a job come back to its supervisor")


def check_cgroup() -> Finding:
    """Try to make a control group, as a supervisor would."""
    group = make_group(f"stoker-doctor-{os.getpid()}")
    if group is None:
        return note(
            "cgroup",
            "no control group of version 2 can be made here; jobs are ended by subreaper, session and marks instead",
            "Under systemd, Delegate=yes in the unit gives one; in a container, a writable /sys/fs/cgroup",
        )
    can_kill = os.path.exists(os.path.join(group.path, "cgroup.kill"))
    remove_group(group.path)
    return ok("cgroup", f"version 2, writable{'' if can_kill else ', without cgroup.kill (Linux before 5.14)'}")


def check_inotify() -> Finding:
    """Try to open what the server watches the attempts with."""
    instances, watches = _number("fs/inotify/max_user_instances"), _number("fs/inotify/max_user_watches")
    remedy = "Raise them: sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=65536"
    try:
        Inotify().close()
    except OSError as error:
        return fault("inotify", f"none can be opened: {error.strerror}", remedy)
    told = f"{instances} instances and {watches} watches per user"
    if instances < FEW_INSTANCES or watches < FEW_WATCHES:
        return warning("inotify", f"only {told}", remedy)
    return ok("inotify", told)


def check_limits() -> Iterator[Finding]:
    """Look at this user's limits."""
    names = {
        "files": (resource.RLIMIT_NOFILE, FEW_FILES, "ulimit -n 65536, or LimitNOFILE= in the unit"),
        "processes": (resource.RLIMIT_NPROC, FEW_PROCESSES, "ulimit -u 8192, or TasksMax= in the unit"),
    }
    for name, (which, few, remedy) in names.items():
        soft, _ = resource.getrlimit(which)
        told = "no limit" if soft == resource.RLIM_INFINITY else f"at most {soft}"
        is_few = soft != resource.RLIM_INFINITY and soft < few
        yield warning(f"limit of {name}", told, f"Raise it: {remedy}") if is_few else ok(f"limit of {name}", told)
    size, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if size != resource.RLIM_INFINITY:
        told = f"files may not grow beyond {size // MEBIBYTE} MiB, so checkpoints can fail"
        yield warning("limit of file size", told, "Lift it: ulimit -f unlimited")


def check_shared_memory() -> Finding:
    """Look at the memory that data loaders share batches in; containers often have 64 MiB."""
    try:
        total = shutil.disk_usage(SHARED).total
    except OSError:
        return note("shared memory", f"{SHARED} is not there; data loaders with workers need it")
    told = f"{SHARED} holds {total // MEBIBYTE} MiB"
    if total < LITTLE_SHARED_MEMORY:
        return warning("shared memory", told, "Give it more, such as --shm-size=8g of a container")
    return ok("shared memory", told)


def check_clock(now: float) -> Finding:
    """Look at the clock; nothing is judged by it, but records and keys carry its times."""
    told = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < OLDEST_SENSIBLE_TIME:
        return fault("clock", f"it says {told}", "Set it: records, keys and certificates carry its times")
    return ok("clock", told)


def check_stack_dumps() -> Finding:
    """Say how well a hang can be looked into before it is ended."""
    if shutil.which("py-spy") is None:
        return note(
            "py-spy",
            "is not on the PATH; stacks of hung jobs come from the process itself and from the kernel",
            "For stacks of any Python process: pip install 'stoker[stacks]'",
        )
    if _number("kernel/yama/ptrace_scope") > 0 and os.geteuid() != 0:
        remedy = "To let it: sysctl kernel.yama.ptrace_scope=0"
        return note("py-spy", "is there, but the kernel lets it look at its own children only", remedy)
    return ok("py-spy", "stacks of hung jobs can be read from outside")


def _number(name: str) -> int:
    try:
        with open(f"/proc/sys/{name}") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0
