"""Which paths a request may name: what the own local user can read, or what lies under the data roots."""

from __future__ import annotations

import os
from pathlib import Path

from stoker.domain.actor import Actor
from stoker.domain.errors import Problem
from stoker.settings import Settings


def check_path(settings: Settings, actor: Actor, field: str, path: str) -> Problem | None:
    """Give the fault of a path that a request names, None if it may be read. Links are followed before the check.

    Says the same of a path outside the roots whether it exists or not.
    """
    if not _can_be_a_path(path):
        return Problem(field=field, message="holds characters that no path can have", remedy="Give a plain path")
    if not os.path.isabs(path):
        remedy = "Give the whole path on the server's machine, beginning with '/'"
        return Problem(field=field, message=f"'{path}' is not an absolute path", remedy=remedy)
    resolved = Path(os.path.realpath(path))
    if not actor.is_local and not any(_is_under(resolved, root) for root in settings.data_roots):
        roots = ", ".join(str(root) for root in settings.data_roots) or "none is set"
        return Problem(
            field=field,
            message=f"'{path}' is not under a data root of this server",
            remedy=f"Put it under one of the data roots ({roots}), or send the data with the request",
        )
    if not os.path.exists(resolved):
        return Problem(field=field, message=f"'{path}' does not exist", remedy="Check the path on the server's machine")
    if not os.access(resolved, os.R_OK):
        return Problem(field=field, message=f"'{path}' can't be read", remedy="Give the server's user the right to")
    return None


def _can_be_a_path(path: str) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:  # half characters
        return False


def _is_under(path: Path, root: Path) -> bool:
    return path.is_relative_to(os.path.realpath(root))
