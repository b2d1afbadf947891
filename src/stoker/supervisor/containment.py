"""Control groups around a trainer: one that is killed as a whole, and one that counts the kernel's memory kills.

A group is a convenience and a second net. Where none is writable the sweep alone does the work.
"""

from __future__ import annotations

import errno
import os

from stoker.rundir.identity import read_proc

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
        """Make the groups; `wanted` is auto, cgroup or sweep. Raises `LaunchError` if it insists on what can't be."""
        name = f"stoker-{attempt_id}"
        self._insists = wanted == "cgroup"
        self.group = make_group(name) if wanted != "sweep" else None
        self.witness = make_witness(name, self.group) if wanted != "sweep" else None
        if self.group is None and self._insists:
            raise LaunchError(_NO_GROUP)

    @property
    def group_path(self) -> str | None:
        """Where the group is, for the record."""
        return None if self.group is None else self.group.path

    @property
    def memory_group_path(self) -> str | None:
        """Where the group that only counts is, for the record."""
        return None if self.witness is None else self.witness.own_group

    def take_in(self, pid: int) -> None:
        """Put a process into the group; where the kernel refuses, the sweep has to do.

        Raises `LaunchError` if the order insists on the group.
        """
        if self.group is None:
            return
        try:
            self.group.add(pid)
        except OSError as error:
            remove_group(self.group.path)
            self.group = None
            if self._insists:
                raise LaunchError(_NO_GROUP) from error

    def count_kills_of(self, pid: int) -> None:
        """Count memory kills from now on. Where that takes a move, it is slow, and is best done beside the start."""
        try:
            if self.witness is not None:
                self.witness.add(pid)
        except OSError:
            self._give_up_witness()

    def saw_memory_kill(self) -> bool:
        """Tell whether the kernel killed something of the attempt for want of memory, as far as that can be known."""
        return self.witness is not None and self.witness.saw_kill()

    def remove(self) -> None:
        """Remove the groups; what still holds survivors stays."""
        for path in (self.group_path, self.memory_group_path):
            if path is not None:
                remove_group(path)

    def _give_up_witness(self) -> None:
        if self.memory_group_path is not None:
            remove_group(self.memory_group_path)
        self.witness = None


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

    def __init__(self, counter: str, own_group: str | None = None) -> None:
        """Take the file with the count, and the group that was made for it if one was."""
        self._counter, self.own_group = counter, own_group
        self._before = self._count()

    def add(self, pid: int) -> None:
        """Count what the kernel does to this process and to what it forks."""
        if self.own_group is not None:
            _write(os.path.join(self.own_group, "cgroup.procs"), b"%d" % pid)

    def saw_kill(self) -> bool:
        """Tell whether the kernel killed one since."""
        return self._count() > self._before

    def _count(self) -> int:
        lines = [line for line in _read(self._counter).splitlines() if line.startswith(_KILLED)]
        return int(lines[0].split()[1]) if lines else 0


def make_group(name: str) -> Group | None:
    """Make a group below the caller's own in the version 2 tree; None where that is not allowed."""
    own = own_group("cgroup2")
    return Group(path) if own is not None and (path := _make(own, name)) is not None else None


def make_witness(name: str, group: Group | None) -> MemoryWitness | None:
    """Find a count of memory kills that belongs to this attempt alone; None where there is none.

    That is the trainer's own group, or the caller's if it holds nothing else, or a group made in a version 1 tree.
    """
    own = own_group("cgroup2")
    if group is not None and os.path.exists(os.path.join(group.path, "memory.events")):
        return MemoryWitness(os.path.join(group.path, "memory.events"))
    if own is not None and _holds_only_us(own, name) and os.path.exists(os.path.join(own, "memory.events")):
        return MemoryWitness(os.path.join(own, "memory.events"))
    legacy = own_group("cgroup", b"memory")
    # Without hierarchy a limit on the parent would not bind the new group.
    if legacy is None or _read(os.path.join(legacy, "memory.use_hierarchy")).strip() != b"1":
        return None
    made = _make(legacy, name)
    return None if made is None else MemoryWitness(os.path.join(made, "memory.oom_control"), made)


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


def _make(parent: str, name: str) -> str | None:
    path = os.path.join(parent, name)
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        return path
    except OSError:
        return None
    return path


def _holds_only_us(group: str, name: str) -> bool:
    folders = [folder for folder, _, _ in os.walk(group)]
    processes = _read(os.path.join(group, "cgroup.procs")).split()
    return processes == [b"%d" % os.getpid()] and set(folders) <= {group, os.path.join(group, name)}


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
