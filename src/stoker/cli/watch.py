"""stoker watch: a job's progress, live."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from stoker.cli import exits, options
from stoker.cli.connect import connect
from stoker.cli.following import detaching, statuses
from stoker.cli.output import emit, note
from stoker.client import Answer, Client

if TYPE_CHECKING:
    from stoker.cli.progress import Bar, Lines


@click.command("watch")
@options.job
@options.url
@options.as_json
def command(job: str, url: str | None, as_json: bool) -> None:
    """Watch a job until it ends: progress, loss, speed, time left. Ctrl-C leaves it running.

    Exits with 0 if it completed, 1 if it failed, 5 if it stalled, 75 if it was cancelled.
    """
    with connect(url) as client:
        client.status(job)
        sys.exit(exits.of_job(follow(client, job, as_json=as_json)))


def follow(client: Client, job: str, *, as_json: bool) -> Answer:
    """Show a job until it ends, and give its last status. Leaves with exit code 130 at Ctrl-C."""
    with detaching(job):
        return _as_json(client, job) if as_json else _for_people(client, job)


def _as_json(client: Client, job: str) -> Answer:
    end: Answer = {}
    for event, status in statuses(client, job):
        emit({"event": event.kind, "id": event.id, **event.data})
        end = status or end
    emit({"event": "end", **end})
    return end


def _for_people(client: Client, job: str) -> Answer:
    from stoker.cli.progress import last_words

    end: Answer = {}
    with view() as shown:
        for event, status in statuses(client, job):
            if event.kind == "closed":
                shown.lost()
            elif status is not None:
                shown.show(status)
                end = status
    note(last_words(end))
    return end


def view() -> Bar | Lines:
    """Give the way to show progress here: a bar on a terminal, lines elsewhere."""
    from stoker.cli.progress import Bar, Lines

    return Bar() if sys.stderr.isatty() else Lines()
