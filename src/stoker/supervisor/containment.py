"""Control groups around a trainer: one that is killed as a whole, and one that counts the kernel's memory kills.

A group is a convenience and a second net. Where none is writable the sweep alone does the work.
"""

from __future__ import annotations

import errno
import os

from stoker.rundir.identity import read_proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_KILLED = b"oom_kill "
_NO_GROUP = (
    "The job has to run in a control group, and none can be made here. "
    "Set the containment to auto, or run the server where cgroup version 2 is writable"
)


class LaunchError(Exception):
    """The job can't be started; the text is a sentence for its owner."""


class Containment:
    """The groups around one attempt, as far as its order asks for them and the machine allows."""

    def __init__(self, attempt_id: str, wanted: str) -> None:
        """Plan the groups, so that they can be on record before they are there; `wanted` is auto, cgroup or sweep."""
        self._insists = wanted == "cgroup"
        self._name = f"stoker-{attempt_id}"
        self._parent = own_group("cgroup2") if wanted != "sweep" else None
        self._counting_parent = own_group("cgroup", b"memory") if wanted != "sweep" else None
        self.group_path = None if self._parent is None else os.path.join(self._parent, self._name)
        self.counting_path = None if self._counting_parent is None else os.path.join(self._counting_parent, self._name)
        self.group: Group | None = None
        self.witness: MemoryWitness | None = None

    def make(self) -> None:
        """Make the groups, as far as that is allowed. Raises `LaunchError` if the order insists and it is not."""
        self.group = make_group(self._name) if self.group_path is not None else None
        self.witness = self._find_witness()
        self._insist()

    def take_in(self, pid: int) -> None:
        """Put a process into the group; where the kernel refuses, the sweep has to do.

        Raises `LaunchError` if the order insists on the group.
        """
        if self.group is None:
            return
        try:
            self.group.add(pid)
        except OSError:
            remove_group(self.group.path)
            self.group = None
            self._insist()

    def count_kills_of(self, pids: Iterable[int]) -> None:
        """Count memory kills of these and of what they fork. Where that takes a move, it is slow: not for the start."""
        for pid in pids:
            if self.witness is None:
                return
            try:
                self.witness.add(pid)
            except ProcessLookupError:
                continue
            except OSError:
                self.witness = None

    def saw_memory_kill(self) -> bool:
        """Tell whether the kernel killed something of the attempt for want of memory, as far as that can be known."""
        return self.witness is not None and self.witness.saw_kill()

    def remove(self) -> None:
        """Remove the groups; what still holds survivors stays."""
        for path in (self.group_path, self.counting_path):
            if path is not None:
                remove_group(path)

    def _insist(self) -> None:
        if self.group is None and self._insists:
            raise LaunchError(_NO_GROUP)

    def _find_witness(self) -> MemoryWitness | None:
        """Find a count of memory kills that belongs to this attempt alone; None where there is none.

        That is the trainer's own group, or the caller's if it holds nothing else, or a group made in a version 1 tree.
        """
        for group in (self.group_path, self._parent):
            counter = os.path.join(group or "", "memory.events")
            if os.path.exists(counter) and (group == self.group_path or self._is_alone()):
                return MemoryWitness(counter)
        parent, path = self._counting_parent, self.counting_path
        # Without hierarchy a limit on the parent would not bind the new group.
        if parent is None or path is None or _read(os.path.join(parent, "memory.use_hierarchy")).strip() != b"1":
            return None
        return MemoryWitness(os.path.join(path, "memory.oom_control"), path) if _make(path) else None

    def _is_alone(self) -> bool:
        """Tell whether the caller's own group holds nothing but the caller and what it made."""
        folders = {folder for folder, _, _ in os.walk(self._parent or "")}
        processes = _read(os.path.join(self._parent or "", "cgroup.procs")).split()
        return processes == [b"%d" % os.getpid()] and folders <= {self._parent, self.group_path}


class Group:
    """A control group of version 2 that holds a trainer's tree, whatever its processes do."""

    def __init__(self, path: str) -> None:
        """Take the path of a group that exists."""
        self.path = path

    def add(self, pid: int) -> None:
        """Move a process into the group; what it forks is born there."""
        _write(os.path.join(self.path, "cgroup.procs"), b"%d" % pid)

    def members(self) -> list[int]:
        """List the processes in the group and in groups that they made below it."""
        folders = [folder for folder, _, _ in os.walk(self.path)]
        return [int(pid) for folder in folders for pid in _read(os.path.join(folder, "cgroup.procs")).split()]

    def is_populated(self) -> bool:
        """Tell whether anything lives in the group or below it."""
        return b"populated 1" in _read(os.path.join(self.path, "cgroup.events"))

    def kill(self) -> None:
        """Kill everything in the group at once; nothing where the kernel is older than 5.14 (the sweep does it)."""
        try:
            _write(os.path.join(self.path, "cgroup.kill"), b"1")
        except OSError:
            return


class MemoryWitness:
    """Tells whether the kernel killed a process of this attempt for want of memory, by a count that is its alone."""

    def __init__(self, counter: str, group: str | None = None) -> None:
        """Take the file with the count, and the group whose members it counts if that is not the trainer's anyway."""
        self._counter, self._group = counter, group
        self._before = self._count()

    def add(self, pid: int) -> None:
        """Count what the kernel does to this process and to what it forks."""
        if self._group is not None:
            _write(os.path.join(self._group, "cgroup.procs"), b"%d" % pid)

    def saw_kill(self) -> bool:
        """Tell whether the kernel killed one since."""
        return self._count() > self._before

    def _count(self) -> int:
        lines = [line for line in _read(self._counter).splitlines() if line.startswith(_KILLED)]
        return int(lines[0].split()[1]) if lines else 0


def make_group(name: str) -> Group | None:
    """Make a group of version 2 below the caller's own; None where that is not allowed."""
    parent = own_group("cgroup2")
    path = os.path.join(parent or "", name)
    return Group(path) if parent is not None and _make(path) else None


def own_group(kind: str, controller: bytes = b"") -> str | None:
    """Give the folder of the caller's own group in the tree mounted as `kind`, for version 1 that of `controller`."""
    for line in read_proc("self/cgroup").splitlines():
        _, controllers, path = line.split(b":", 2)
        if controller in controllers.split(b","):
            return _below_mount(kind, controller, path.decode())
    return None


def remove_group(path: str) -> None:
    """Remove a group and those below it; quiet if it is gone or not empty."""
    try:
        for folder, _, _ in os.walk(path, topdown=False):
            os.rmdir(folder)
    except OSError:
        return


def _below_mount(kind: str, option: bytes, path: str) -> str | None:
    for line in read_proc("self/mountinfo").splitlines():
        fields, _, rest = line.partition(b" - ")
        type_name, _, options = rest.split(b" ", 2)
        if type_name.decode() != kind or (option and option not in options.split(b",")):
            continue
        root, mount = (field.decode() for field in fields.split(b" ")[3:5])
        if path == root or path.startswith(root.rstrip("/") + "/"):
            return os.path.normpath(mount + "/" + path[len(root.rstrip("/")) :])
    return None


def _make(path: str) -> bool:
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        return True
    except OSError:
        return False
    return True


def _read(path: str) -> bytes:
    """Read a file of a group; empty if the group is gone. An empty answer for want of descriptors would be a lie."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read() or b""
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise
        return b""


def _write(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
