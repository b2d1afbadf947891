"""Who a process is, beyond its number, and how to signal it without ever hitting another one."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

MARK = "STOKER_NONCE"
"""The variable in a trainer's environment that carries the attempt's nonce; what a sweep looks for."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process for ever: the boot it lives in, its number, and its start in clock ticks since that boot."""

    boot: str
    pid: int
    start: int


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """What /proc/PID/stat tells: the name, the state letter, the parent and the start in clock ticks."""

    pid: int
    name: str
    state: str
    parent: int
    start: int


def boot_id() -> str:
    """Give the kernel's id of this boot."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def read_stat(pid: int) -> ProcessStat | None:
    """Read /proc/PID/stat; None if there is no such process. The name may hold ')', so the last one counts."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    opening, closing = line.index(b"("), line.rindex(b")")
    fields = line[closing + 2 :].split()
    name = line[opening + 1 : closing].decode("utf-8", "replace")
    return ProcessStat(pid, name, fields[0].decode(), int(fields[1]), int(fields[19]))


def identify(pid: int, boot: str | None = None) -> ProcessId | None:
    """Give the identity of a live process; None if it is gone."""
    found = read_stat(pid)
    return None if found is None else ProcessId(boot or boot_id(), pid, found.start)


def is_alive(who: ProcessId) -> bool:
    """Tell whether exactly this process still runs. A zombie counts as dead."""
    if who.boot != boot_id():
        return False
    found = read_stat(who.pid)
    return found is not None and found.start == who.start and found.state not in "ZX"


def open_pidfd(who: ProcessId) -> int | None:
    """Open a descriptor that means this very process; None if it is gone or its number is another's now."""
    try:
        descriptor = os.pidfd_open(who.pid)
    except (ProcessLookupError, OSError):
        return None
    if is_same(who):
        return descriptor
    os.close(descriptor)
    return None


def is_same(who: ProcessId) -> bool:
    """Tell whether the number still belongs to this process, alive or a zombie."""
    found = read_stat(who.pid)
    return found is not None and found.start == who.start and who.boot == boot_id()


def send_signal(who: ProcessId, number: int) -> bool:
    """Signal this very process; False if it is gone. Never reaches a process that took over its number."""
    descriptor = open_pidfd(who)
    if descriptor is None:
        return False
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def carries_mark(pid: int, nonce: str) -> bool:
    """Tell whether the process started with the attempt's nonce in its environment. Other users' can't be read."""
    wanted = f"{MARK}={nonce}".encode()
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return wanted in file.read().split(b"\0")
    except OSError:
        return False


def all_pids() -> list[int]:
    """List the numbers of all processes that /proc shows."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]
