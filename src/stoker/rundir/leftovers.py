"""What an earlier server left behind when it was killed: secrets, half made or half deleted folders, orphans."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from stoker.domain.ids import ID_PATTERN
from stoker.rundir.layout import AttemptDir, JobDir
from stoker.rundir.records import read_order
from stoker.rundir.secrets import forget_secrets

TYPE_CHECKING = False  # typing itself would cost each reader a megabyte
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stoker.domain.job import Job

FORGOTTEN_SECONDS = 3600.0
"""A job's folder without a job is left alone for so long after its last change."""

NEW_ATTEMPT = ".new-"
"""How the name of an attempt's folder begins while it is being written."""

DELETED_JOB = ".deleted-"
"""How the name of a job's folder begins once the job is deleted; no id begins so."""

_OF_A_JOB = frozenset({"inputs", "checkpoints", "outputs", "secrets.json"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Leftovers:
    """What was removed, and what nobody knows and was left as it is: paths all."""

    secrets: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    attempts: tuple[str, ...] = ()
    orphan_jobs: tuple[str, ...] = ()
    orphan_attempts: tuple[str, ...] = ()


def tidy(
    roots: tuple[str, str],
    known_job: Callable[[str], Job | None],
    known_attempt: Callable[[str, str], bool],
    now: float,
) -> Leftovers:
    """Clear away what is left under the roots of the jobs and of the attempts. May be called again at any time.

    `now` is the time (UTC seconds) at which this server began: what changed later is its own and is not touched.
    `known_attempt` is asked with the ids of the job and of the attempt. Raises what the callables raise.
    """
    jobs_root, attempts_root = roots
    forgotten: list[str] = []
    gone: list[str] = []
    orphans: list[str] = []
    for path in _folders(jobs_root):
        if os.path.basename(path).startswith(DELETED_JOB):
            gone.append(path)
            continue
        job, folder = known_job(os.path.basename(path)), JobDir(path)
        if _holds_stale_secrets(folder, job, now):
            forget_secrets(folder)
            forgotten.append(folder.secrets)
        if job is None and now - _changed_at(path) > FORGOTTEN_SECONDS:
            (gone if _is_half_made(path) else orphans).append(path)
    new, unknown = _attempts(attempts_root, known_attempt, now)
    for path in (*gone, *new):
        shutil.rmtree(path, ignore_errors=True)
    return Leftovers(
        secrets=tuple(forgotten),
        jobs=tuple(gone),
        attempts=tuple(new),
        orphan_jobs=tuple(orphans),
        orphan_attempts=tuple(unknown),
    )


def _attempts(root: str, known: Callable[[str, str], bool], now: float) -> tuple[list[str], list[str]]:
    """Give the folders that were never finished, and those whose attempt is not known."""
    new: list[str] = []
    unknown: list[str] = []
    for path in _folders(root):
        name = os.path.basename(path)
        if _changed_at(path) >= now:
            continue
        if name.startswith(NEW_ATTEMPT):
            new.append(path)
            continue
        order = read_order(AttemptDir(path).order)
        if order is None or not known(order.job_id, name):
            unknown.append(path)
    return new, unknown


def _holds_stale_secrets(folder: JobDir, job: Job | None, now: float) -> bool:
    try:
        written_at = os.lstat(folder.secrets).st_mtime
    except OSError:
        return False
    return written_at < now if job is None else job.is_terminal


def _is_half_made(path: str) -> bool:
    """Tell what a submit or a delete left from work of a job that this server's store has lost: that is kept."""
    folder = JobDir(path)
    if not ID_PATTERN.fullmatch(os.path.basename(path)) or not set(os.listdir(path)) <= _OF_A_JOB:
        return False
    return not any(_names(place) for place in (folder.checkpoints, folder.outputs))


def _changed_at(path: str) -> float:
    """Give when a folder or something right in it changed last."""
    return max(_modified_at(one) for one in (path, *(os.path.join(path, name) for name in _names(path))))


def _modified_at(path: str) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return 0.0


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _folders(root: str) -> Iterator[str]:
    paths = (os.path.join(root, name) for name in sorted(_names(root)))
    return (path for path in paths if os.path.isdir(path) and not os.path.islink(path))
