"""Who a process is, beyond its number, and how to signal it without ever hitting another one."""

from __future__ import annotations

import functools
import os
import signal

from stoker.domain.values import value

MARK = "STOKER_NONCE"
"""The variable in a trainer's environment that carries the attempt's nonce; what a sweep looks for."""

_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)
_PIECE_BYTES = 1 << 14


@value(frozen=True, slots=True)
class ProcessId:
    """A process for ever: the boot it lives in, its number, and its start in clock ticks since that boot."""

    boot: str
    pid: int
    start: int


@value(frozen=True, slots=True)
class ProcessStat:
    """What /proc/PID/stat tells: the name, the state letter, the parent, the start in clock ticks, the threads."""

    pid: int
    name: str
    state: str
    parent: int
    start: int
    threads: int = 1

    @property
    def is_alive(self) -> bool:
        """Tell whether it still runs. A zombie is dead, unless it is only the first thread of several that ended."""
        return self.state not in "ZX" or self.threads > 1


@functools.cache
def boot_id() -> str:
    """Give the kernel's id of this boot, which no process outlives."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def read_stat(pid: int) -> ProcessStat | None:
    """Read /proc/PID/stat; None if there is no such process. The name may hold ')', so the last one counts."""
    line = read_proc(f"{pid}/stat")
    if not line:
        return None
    opening, closing = line.index(b"("), line.rindex(b")")
    fields = line[closing + 2 :].split()
    name = line[opening + 1 : closing].decode("utf-8", "replace")
    return ProcessStat(pid, name, fields[0].decode(), int(fields[1]), int(fields[19]), int(fields[17]))


def read_proc(name: str) -> bytes:
    """Read a file below /proc; empty if the process is gone or not ours to read. Other failures are raised."""
    try:
        descriptor = os.open(f"/proc/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except _GONE:
        return b""
    pieces = []
    try:
        while piece := os.read(descriptor, _PIECE_BYTES):
            pieces.append(piece)
    except _GONE:
        return b""
    finally:
        os.close(descriptor)
    return b"".join(pieces)


def identify(pid: int, boot: str | None = None) -> ProcessId | None:
    """Give the identity of a live process; None if it is gone."""
    found = read_stat(pid)
    return None if found is None else ProcessId(boot or boot_id(), pid, found.start)


def is_alive(who: ProcessId) -> bool:
    """Tell whether exactly this process still runs. A zombie counts as dead."""
    if who.boot != boot_id():
        return False
    found = read_stat(who.pid)
    return found is not None and found.start == who.start and found.is_alive


def open_pidfd(who: ProcessId) -> int | None:
    """Open a descriptor that means this very process; None if it is gone or its number is another's now."""
    try:
        descriptor = os.pidfd_open(who.pid)
    except _GONE:
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
    return f"{MARK}={nonce}".encode() in read_proc(f"{pid}/environ").split(b"\0")


def all_pids() -> list[int]:
    """List the numbers of all processes that /proc shows."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]
