"""The home: its disk, its rights, its server, and what may have been left behind by a dead supervisor."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from stoker.cli.checks.finding import Finding, fault, note, ok, warning
from stoker.client import Client, ClientError
from stoker.rundir.claim import is_locked
from stoker.rundir.durable import read_object
from stoker.rundir.identity import MARK, all_pids, read_proc, read_stat
from stoker.rundir.layout import AttemptDir
from stoker.settings import Settings
from stoker.store.home import holder_of
from stoker.store.mounts import file_system, is_network

GIBIBYTE = 1 << 30
ROOM_FOR_RECORDS, ROOM_FOR_MODELS = GIBIBYTE, 10 * GIBIBYTE
HOME_MARK = "STOKER_HOME_ID"


def check_home(settings: Settings) -> Iterator[Finding]:
    """Look at a home, whether it is there yet or not."""
    yield check_file_system(settings.home)
    yield check_rights(settings.home)
    yield check_room("home", settings.home, ROOM_FOR_RECORDS)
    yield check_room("runs", settings.jobs_root, ROOM_FOR_MODELS)
    yield check_server(settings)
    yield check_leftovers(settings)


def check_file_system(home: Path) -> Finding:
    """Say whether the home lies on a local disk."""
    kind = file_system(home)
    if kind is not None and is_network(kind):
        told = f"{home} lies on a network file system ({kind}), where locks and the database can't be trusted"
        return fault("home's disk", told, "Choose a --home on a local disk; --runs may stay on the network")
    if kind in ("tmpfs", "ramfs"):
        return warning(
            "home's disk", f"{home} lies in memory ({kind}) and is gone after a reboot", "Choose a --home on disk"
        )
    return ok("home's disk", f"{home} ({kind or 'of an unknown type'})")


def check_rights(home: Path) -> Finding:
    """Say whether this user can use the home, and nobody else can."""
    if not home.exists():
        parent = next(folder for folder in home.absolute().parents if folder.exists())
        if not os.access(parent, os.W_OK | os.X_OK):
            return fault("home's rights", f"{home} is not there and {parent} can't be written", "Choose another --home")
        return note("home's rights", f"{home} is not there yet; the first start makes it")
    status = home.stat()
    if status.st_uid != os.geteuid():
        told = f"{home} belongs to user id {status.st_uid}, not to you ({os.geteuid()})"
        return fault("home's rights", told, "Run as that user, or choose another --home")
    if stat.S_IMODE(status.st_mode) & 0o077:
        return warning("home's rights", f"{home} is open to other users", f"Close it: chmod 700 {home}")
    return ok("home's rights", f"{home} is yours alone")


def check_room(name: str, folder: Path, wanted: int) -> Finding:
    """Say how much room a disk has."""
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    free = shutil.disk_usage(there).free
    files = os.statvfs(there)
    told = f"{free / GIBIBYTE:.1f} GiB free for {folder}"
    if files.f_files and files.f_favail < files.f_files // 100:
        return warning(f"{name}'s room", f"{told}, but hardly a file more fits", "Remove files that are not needed")
    if free < wanted:
        return warning(f"{name}'s room", told, f"Free some space; {wanted // GIBIBYTE} GiB are a sensible least")
    return ok(f"{name}'s room", told)


def check_server(settings: Settings) -> Finding:
    """Say whether a server runs on the home and answers."""
    try:
        health = Client(f"unix:{settings.socket}", timeout=5.0).health()
    except ClientError as error:
        return _silent_server(settings.home, str(error))
    mine, theirs = version("stoker"), health.get("version")
    if theirs != mine:
        return warning("server", f"runs version {theirs}, this is {mine}", "Start it anew; jobs go on meanwhile")
    if health["status"] != "healthy":
        return fault("server", f"runs, but its store does not answer: {health['store']}", "See its log")
    queue = health["queue"]
    return ok("server", f"runs: {queue['running']} running, {queue['queued']} waiting")


def _silent_server(home: Path, error: str) -> Finding:
    holder = holder_of(home)
    if holder is not None and b"stoker" in read_proc(f"{holder}/cmdline"):
        return fault("server", f"process {holder} holds the home and does not answer: {error}", "See its log")
    return note("server", "none runs on this home", "Start it: stoker serve")


def check_leftovers(settings: Settings) -> Finding:
    """Look for processes of this home's jobs that no supervisor looks after any more."""
    homes, dead = _attempts(settings.attempts_root)
    left = [pid for pid in all_pids() if _is_left(pid, homes, dead)]
    if not left:
        return ok("leftovers", "no process of a job is without its supervisor")
    named = ", ".join(f"{pid} ({found.name})" for pid in left if (found := read_stat(pid)) is not None)
    told = f"processes of jobs whose supervisor is dead: {named}"
    return fault("leftovers", told, "Let the server end them: stoker reconnect (it does so at its start, too)")


def _attempts(root: Path) -> tuple[set[bytes], set[bytes]]:
    """Give the marks of the home, and those of attempts that have no live supervisor."""
    homes, dead = set(), set()
    for name in os.listdir(root) if root.is_dir() else ():
        attempt = AttemptDir(str(root / name))
        order = read_object(attempt.order, 16 << 20) or {}
        homes.add(f"{HOME_MARK}={order.get('home_id')}".encode())
        if not is_locked(attempt):
            dead.add(f"{MARK}={order.get('nonce')}".encode())
    return homes, dead


def _is_left(pid: int, homes: set[bytes], dead: set[bytes]) -> bool:
    marks = set(read_proc(f"{pid}/environ").split(b"\0"))
    return bool(marks & homes) and bool(marks & dead)
