"""The client that a command uses, and the way a verb is applied to several jobs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from stoker.cli import exits
from stoker.cli.output import complain, tell
from stoker.client import Answer, Client, ServerError


def connect(url: str | None) -> Client:
    """Give the client for the server that was named, or that is found. Nothing is sent yet."""
    return Client(url)


def for_each(jobs: Sequence[str], verb: Callable[[str], Answer], *, as_json: bool) -> None:
    """Ask the same of each job and print every answer; refusals don't keep the others from their turn.

    Exits with the code of the first refusal.
    """
    first: exits.Exit | None = None
    for job in jobs:
        try:
            tell(verb(job), as_json=as_json)
        except ServerError as error:
            complain(error, as_json=as_json)
            first = first or exits.of_error(error)
    if first is not None:
        sys.exit(first)
