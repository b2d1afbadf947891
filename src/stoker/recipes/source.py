"""Which source a command ran from: the git commit of its working directory, and whether it had changed."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator

GIT_SECONDS = 2.0
_STATUS = ("status", "--porcelain=v2", "--branch", "--untracked-files=no", "-z")
_CAREFULLY = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never")


def describe_source(folder: str) -> dict[str, object] | None:
    """Give the commit, the branch and whether tracked files had changed; None outside a repository.

    Looks for at most `GIT_SECONDS` and never fails: what can't be told is null, with the cause in `note`.
    """
    root = next((one for one in _upwards(folder) if os.path.lexists(os.path.join(one, ".git"))), None)
    if root is None:
        return None
    found: dict[str, object] = {"cwd": folder, "root": root, "at": time.time()}
    return found | _read_status(folder)


def _read_status(folder: str) -> dict[str, object]:
    try:
        done = subprocess.run(
            ("git", *_CAREFULLY, "-C", folder, *_STATUS),
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _unknown(f"git did not answer within {GIT_SECONDS:g} seconds")
    except OSError as error:
        return _unknown(f"git can't be run: {error.strerror}")
    if done.returncode != 0:
        return _unknown(done.stderr.decode("utf-8", "replace").strip()[:500])
    return _parse(done.stdout.decode("utf-8", "replace"))


def _parse(status: str) -> dict[str, object]:
    entries = [one for one in status.split("\0") if one]
    heads = dict(one[2:].split(" ", 1) for one in entries if one.startswith("# branch.") and " " in one[2:])
    commit, branch = heads.get("branch.oid"), heads.get("branch.head")
    return {
        "commit": None if commit == "(initial)" else commit,
        "branch": None if branch == "(detached)" else branch,
        "dirty": any(not one.startswith("#") for one in entries),
        "note": None,
    }


def _unknown(note: str) -> dict[str, object]:
    return {"commit": None, "branch": None, "dirty": None, "note": note}


def _environment() -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", "/"),
        "LC_ALL": "C",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
    }


def _upwards(folder: str) -> Iterator[str]:
    current = os.path.abspath(folder)
    while True:
        yield current
        above = os.path.dirname(current)
        if above == current:
            return
        current = above
