"""Checkpoints on disk: a manifest, written last, makes one complete; without it there is none.

The manifest names every file with its size and SHA-256, and says at which step and losses it was taken. Whoever
resumes checks every byte (`verify`); whoever only lists looks at names and sizes (`glance`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import time
from dataclasses import dataclass, field

from stoker.rundir.durable import fsync_dir, read_object, write_durably

TYPE_CHECKING = False  # typing itself would cost each reader a megabyte
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MANIFEST = "manifest.json"
MANIFEST_BYTES = 16 << 20
FORMAT = 1
_FOLDER = re.compile(r"checkpoint-(\d+)")
_ABANDONED = re.compile(r"abandoned-\d+")
_BRANCH = "branch.json"
"""While it is there, checkpoints of a later step than it says belong to an abandoned line and are not listed."""

_CHUNK_BYTES = 1 << 20
_MOST_STEPS = 1 << 53
_MOST_SECONDS = 253_402_300_799
"""The last second of the year 9999: no later time can be written as a date."""

_MOST = 1.7e308
"""What a float can hold; a job may write any number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A checkpoint that has a manifest. `created_at` is seconds since 1970 UTC, `epoch` a float, sizes are bytes."""

    path: str
    step: int
    epoch: float | None = None
    loss: float | None = None
    eval_loss: float | None = None
    created_at: float = 0.0
    size_bytes: int = 0
    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    is_best: bool = False
    is_latest: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """What a manifest says of the training: the step, the epoch (a float), and the losses known then."""

    step: int
    epoch: float | None = None
    loss: float | None = None
    eval_loss: float | None = None


def seal(path: str, progress: Progress, on_file: Callable[[int], None] | None = None) -> Checkpoint:
    """Make the folder `path` a checkpoint: sync and hash every file, then write the manifest. Durable on return.

    `on_file` is called with the bytes done so far, at least once a file. Raises `OSError`.
    """
    unseal(path)
    done, files = 0, {}
    for name in sorted(_files_in(path)):
        size, digest = _hash(os.path.join(path, name), sync=True)
        files[name] = {"size": size, "sha256": digest}
        done += size
        if on_file is not None:
            on_file(done)
    for folder in {os.path.dirname(os.path.join(path, name)) for name in files}:
        fsync_dir(folder)
    body = {
        "format": FORMAT,
        "step": progress.step,
        "epoch": progress.epoch,
        "loss": progress.loss,
        "eval_loss": progress.eval_loss,
        "created_at": time.time(),
        "files": files,
    }
    write_durably(os.path.join(path, MANIFEST), json.dumps(body, indent=1).encode() + b"\n")
    fsync_dir(os.path.dirname(os.path.abspath(path)))
    sealed = read(path)
    if sealed is None:
        raise OSError(f"The manifest of {path} can't be read back")
    return sealed


def unseal(path: str) -> None:
    """Take the manifest away, durably: from now on the folder is no checkpoint, however its files change."""
    try:
        os.unlink(os.path.join(path, MANIFEST))
    except FileNotFoundError:
        return
    fsync_dir(path)


def read(path: str) -> Checkpoint | None:
    """Read the manifest of a folder; None if there is none that is whole. The files are not looked at."""
    data = read_object(os.path.join(path, MANIFEST), MANIFEST_BYTES)
    files = _read_files(data)
    if data is None or files is None or not _is_sound(data):
        return None
    return Checkpoint(
        path=path,
        step=data["step"],  # type: ignore[arg-type]
        epoch=_number(data.get("epoch")),
        loss=_number(data.get("loss")),
        eval_loss=_number(data.get("eval_loss")),
        created_at=_number(data.get("created_at")) or 0.0,
        size_bytes=sum(size for size, _ in files.values()),
        files=files,
    )


def step_of(path: str | None) -> int | None:
    """Give the step of a checkpoint, by its manifest, else by the name of its folder; None where neither says it."""
    if path is None:
        return None
    if (found := read(path)) is not None:
        return found.step
    named = _FOLDER.fullmatch(os.path.basename(path.rstrip("/")))
    return int(named[1]) if named else None


def verify(path: str) -> str | None:
    """Say in a sentence why the folder can't be resumed from; None if every file is there, byte for byte."""
    return _problem(path, whole=True)


def glance(path: str) -> str | None:
    """Say in a sentence what is wrong with the manifest, the names or the sizes; None if nothing. Reads no file."""
    return _problem(path, whole=False)


def listing(directory: str) -> list[Checkpoint]:
    """List the checkpoints in a folder by step, passing over what is incomplete. Sizes are checked, contents not.

    The one with the lowest evaluation loss is marked best (the first of equals), the highest step latest.
    """
    found = [c for c in map(read, _of_this_line(directory)) if c is not None and glance(c.path) is None]
    found.sort(key=lambda c: c.step)
    best = min((c for c in found if c.eval_loss is not None), key=lambda c: (c.eval_loss, c.step), default=None)
    return [_marked(c, best=c is best, latest=c is found[-1]) for c in found]


def list_checkpoints(directory: str) -> list[dict[str, object]]:
    """List the checkpoints in a folder by step, in the words of the API; `created_at` is ISO 8601 in UTC."""
    return [
        {
            "path": one.path,
            "epoch": one.epoch,
            "step": one.step,
            "eval_loss": one.eval_loss,
            "train_loss": one.loss,
            "size_bytes": one.size_bytes,
            "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one.created_at)),
            "is_best": one.is_best,
            "is_latest": one.is_latest,
        }
        for one in listing(directory)
    ]


def newest_verified(directory: str) -> str | None:
    """Give the path of the checkpoint with the highest step whose every byte verifies; None if there is none."""
    return next((one.path for one in reversed(listing(directory)) if verify(one.path) is None), None)


def newest_complete(directory: str) -> str | None:
    """Give the path of the checkpoint with the highest step by names and sizes alone; reads no weights."""
    found = listing(directory)
    return found[-1].path if found else None


def rotate(directory: str, keep: int | None, protect: tuple[str, ...] = ()) -> list[str]:
    """Delete the oldest checkpoints beyond `keep` and return their paths; None or 0 keeps all.

    Never deletes the best, the newest or one in `protect`, even if more than `keep` stay.
    """
    found = listing(directory)
    surplus = len(found) - keep if keep else 0
    safe = {os.path.realpath(path) for path in protect}
    spare = [c for c in found if not (c.is_best or c.is_latest or os.path.realpath(c.path) in safe)]
    doomed = [c.path for c in spare[: max(0, surplus)]]
    for path in doomed:
        remove(path)
    return doomed


def set_aside(directory: str, step: int, attempt: int) -> list[str]:
    """Leave the line beyond `step`: later checkpoints go into `abandoned-ATTEMPT`, where nothing lists them.

    Durable on return, and in one step for whoever lists, wherever it is killed. Raises `OSError`.
    """
    beyond = [path for path in _folders(directory) if (step_of(path) or 0) > step]
    marker = os.path.join(directory, _BRANCH)
    if beyond:
        write_durably(marker, json.dumps({"step": step}).encode())
        place = os.path.join(directory, f"abandoned-{attempt}")
        os.makedirs(place, mode=0o700, exist_ok=True)
        for path in beyond:
            shutil.rmtree(os.path.join(place, os.path.basename(path)), ignore_errors=True)
            os.rename(path, os.path.join(place, os.path.basename(path)))
        fsync_dir(place)
        fsync_dir(directory)
    if os.path.lexists(marker):
        os.unlink(marker)
        fsync_dir(directory)
    return beyond


def remove_abandoned(directory: str) -> None:
    """Delete what was set aside; to be called once the new line has a checkpoint of its own."""
    for name in os.listdir(directory):
        if _ABANDONED.fullmatch(name):
            shutil.rmtree(os.path.join(directory, name), ignore_errors=True)


def remove(path: str) -> None:
    """Delete a checkpoint: its manifest first, so that a half deleted one is none."""
    unseal(path)
    shutil.rmtree(path, ignore_errors=True)


def remove_incomplete(directory: str) -> list[str]:
    """Delete the `checkpoint-N` folders without a manifest, the leavings of a save that was cut short."""
    doomed = [path for path in _folders(directory) if not os.path.lexists(os.path.join(path, MANIFEST))]
    for path in doomed:
        shutil.rmtree(path, ignore_errors=True)
    return doomed


def _of_this_line(directory: str) -> list[str]:
    branch = read_object(os.path.join(directory, _BRANCH))
    step = None if branch is None else branch.get("step")
    last = step if isinstance(step, int | float) else None
    return [path for path in _folders(directory) if last is None or (step_of(path) or 0) <= last]


def _folders(directory: str) -> list[str]:
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    paths = [os.path.join(directory, name) for name in names if _FOLDER.fullmatch(name)]
    return [path for path in paths if os.path.isdir(path) and not os.path.islink(path)]


def _files_in(path: str) -> Iterator[str]:
    for folder, _, names in os.walk(path):
        for name in names:
            relative = os.path.relpath(os.path.join(folder, name), path)
            if relative != MANIFEST:
                yield relative


def _problem(path: str, *, whole: bool) -> str | None:
    if not os.path.isdir(path):
        return f"There is no checkpoint at {path}"
    if not os.path.lexists(os.path.join(path, MANIFEST)):
        return f"The checkpoint {path} has no manifest: it was never finished"
    checkpoint = read(path)
    if checkpoint is None:
        return f"The manifest of the checkpoint {path} can't be read"
    for name, (size, digest) in checkpoint.files.items():
        fault = _file_problem(os.path.join(path, name), size, digest if whole else None)
        if fault is not None:
            return f"The checkpoint {path} is damaged: {name} {fault}"
    return None


def _file_problem(path: str, size: int, digest: str | None) -> str | None:
    try:
        status = os.lstat(path)
    except OSError:
        return "is missing"
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    if status.st_size != size:
        return f"has {status.st_size} bytes instead of {size}"
    try:
        return None if digest is None or _hash(path)[1] == digest else "has other contents than when it was saved"
    except OSError as error:
        return f"can't be read ({error.strerror})"


def _hash(path: str, *, sync: bool = False) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        while chunk := os.read(descriptor, _CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return size, digest.hexdigest()


def _read_files(data: dict[str, object] | None) -> dict[str, tuple[int, str]] | None:
    listed = None if data is None else data.get("files")
    if not isinstance(listed, dict) or not listed:
        return None
    files = {}
    for name, entry in listed.items():
        match entry:
            case {"size": int(size), "sha256": str(digest)} if _stays_inside(name):
                files[name] = (size, digest)
            case _:
                return None
    return files


def _is_sound(data: dict[str, object]) -> bool:
    """Tell whether the numbers are such as a training can have."""
    step, created = data.get("step"), data.get("created_at")
    return (
        isinstance(step, int)
        and not isinstance(step, bool)
        and 0 <= step <= _MOST_STEPS
        and (not isinstance(created, int | float) or 0 <= created <= _MOST_SECONDS)
        and all(_fits(data.get(name)) for name in ("epoch", "loss", "eval_loss"))
    )


def _fits(value: object) -> bool:
    return not isinstance(value, int | float) or abs(value) <= _MOST


def _stays_inside(name: str) -> bool:
    try:
        is_name = b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return is_name and not os.path.isabs(name) and os.path.normpath(name) == name and not name.startswith("..")


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _marked(checkpoint: Checkpoint, *, best: bool, latest: bool) -> Checkpoint:
    values = {name: getattr(checkpoint, name) for name in checkpoint.__slots__}
    return Checkpoint(**(values | {"is_best": best, "is_latest": latest}))
