"""Writing files so that a crash leaves the old content or the new, never a mixture, and reading them without harm."""

from __future__ import annotations

import json
import os
import stat
from _thread import get_native_id  # `threading` itself would cost each supervisor memory

TYPE_CHECKING = False  # typing itself would cost each supervisor a megabyte
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_RECORD_BYTES = 1 << 20
"""No record is larger; a longer file is refused, not read."""

MAX_DEPTH = 64
"""No record is nested deeper; what can be read here can be written again anywhere without running out of stack."""


def _temporary(path: str) -> str:
    """Name the file that becomes `path`: no two threads, of one process or of several, write the same one."""
    return f"{path}.{os.getpid()}.{get_native_id()}.new"


def fsync_dir(path: str) -> None:
    """Make the names in directory `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte of `data`, however many calls it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def write_durably(path: str, data: bytes, mode: int = 0o600) -> None:
    """Replace `path` by `data` and make it durable: temporary file, fsync, rename, fsync of the directory."""
    replace(path, data, mode=mode, sync=True)
    fsync_dir(os.path.dirname(path))


def replace(path: str, data: bytes, *, mode: int = 0o600, sync: bool = False) -> None:
    """Replace `path` by `data` in one step that readers can't see halfway; durable only with `sync`."""
    temporary = _temporary(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        write_all(descriptor, data)
        if sync:
            os.fsync(descriptor)
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)  # a full disk must not be kept full by what did not fit
        raise
    finally:
        os.close(descriptor)


def create_durably(path: str, data: bytes) -> bool:
    """Create `path` with `data` if nobody has; tell whether it was us. Durable on return, with the data whole."""
    created = create(path, data, sync=True)
    if created:
        fsync_dir(os.path.dirname(path))
    return created


def create(path: str, data: bytes, *, sync: bool = False) -> bool:
    """Create `path` with `data` if nobody has; tell whether it was us.

    The data is in the file before the name is: a link can't be seen half written.
    """
    temporary = _temporary(path)
    replace(temporary, data, sync=sync)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    return True


def settle(paths: Iterable[str]) -> None:
    """Make files durable together, for about the price of one: all begin to be written back before any is waited for.

    Each fsync would else commit the file system's journal anew.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptors = [os.open(path, flags) for path in paths]
    try:
        for descriptor in descriptors:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        for descriptor in descriptors:
            os.fsync(descriptor)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def read_regular(path: str, limit: int = MAX_RECORD_BYTES) -> bytes | None:
    """Read a regular file of at most `limit` bytes; None for anything else, a link, a pipe, nothing there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            return None
        return os.pread(descriptor, limit, 0)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def parse_object(data: bytes | None, depth: int = MAX_DEPTH) -> dict[str, object] | None:
    """Parse a JSON object; None for anything else: broken text, NaN and what is infinite, too deep nesting."""
    if data is None:
        return None
    try:
        value = json.loads(data, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and _is_shallow(value, depth) else None


def read_object(path: str, limit: int = MAX_RECORD_BYTES) -> dict[str, object] | None:
    """Read a JSON object from a regular file; None if it is not there, half written or something else."""
    return parse_object(read_regular(path, limit))


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _finite(text: str) -> float:
    """Read a number; one like 1e999 would be written again as what no reader takes."""
    value = float(text)
    if value - value != 0:
        raise ValueError(text)
    return value


def _is_shallow(value: object, depth: int) -> bool:
    layer = [value]
    for _ in range(depth):
        layer = [
            inner
            for outer in layer
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not layer:
            return True
    return False
