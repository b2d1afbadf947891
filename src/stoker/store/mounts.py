"""Which file system a path lies on, so that a home on a network is refused: locks and shared memory lie there."""

from __future__ import annotations

import os
from pathlib import Path

from stoker.domain.errors import HomeUnusable

NETWORK_TYPES = frozenset(
    {
        "9p", "acfs", "afs", "autofs", "beegfs", "beegfs_nodev", "ceph", "cifs", "coda", "davfs", "glusterfs", "gpfs",
        "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "prl_fs", "pvfs2", "smb", "smb3", "smbfs",
        "vboxsf", "vmhgfs", "wekafs",
    }
)  # fmt: skip
"""File system types, as the kernel names them, whose locks or mapped memory can't be trusted."""

NETWORK_FUSE = frozenset(
    {
        "afp", "beegfs", "blobfuse", "blobfuse2", "ceph", "ceph-fuse", "cephfs", "curlftpfs", "dav", "davfs", "gcsfuse",
        "geesefs", "glusterfs", "goofys", "hdfs", "jfs", "juicefs", "mfs", "moosefs", "mount-s3", "mountpoint-s3",
        "nfs", "rclone", "s3fs", "s3ql", "seaweedfs", "smb", "smbnetfs", "sshfs", "vmhgfs-fuse", "weed",
    }
)  # fmt: skip
"""The same for file systems in user space, whose type is `fuse.` and one of these."""

_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


def refuse_network_home(path: Path, mountinfo: str = "/proc/self/mountinfo") -> None:
    """Raise `HomeUnusable` if `path`, which need not exist yet, lies on a network file system."""
    kind = file_system(path, mountinfo)
    if kind is not None and is_network(kind):
        raise HomeUnusable(
            f"{path} lies on a network file system ({kind}), where locks can't be trusted and a database can be "
            "damaged. Choose a --home on a local disk; --runs may stay where it is"
        )


def is_network(kind: str) -> bool:
    """Tell whether a file system type, as in /proc/self/mountinfo, is one of a network."""
    return kind in NETWORK_TYPES or (kind.startswith("fuse.") and kind.removeprefix("fuse.") in NETWORK_FUSE)


def file_system(path: Path, mountinfo: str = "/proc/self/mountinfo") -> str | None:
    """Give the type of the file system that `path` lies on; None where the kernel doesn't tell."""
    try:
        with open(mountinfo, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    real, best, kind = os.path.realpath(path), "", None
    for line in lines:
        point, found = _parse(line)
        if _holds(point, real) and len(point) >= len(best):  # of two on one point, the later hides the earlier
            best, kind = point, found
    return kind


def _parse(line: str) -> tuple[str, str]:
    before, _, after = line.partition(" - ")
    point = before.split(" ")[4]
    for escape, character in _ESCAPES.items():
        point = point.replace(escape, character)
    return point, after.split(" ")[0]


def _holds(point: str, path: str) -> bool:
    return point in ("/", path) or path.startswith(point + "/")
