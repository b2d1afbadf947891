"""stoker events: the history of a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from stoker.cli import options
from stoker.cli.connect import connect
from stoker.cli.output import emit, table

PAGE = 1000


@click.command("events")
@options.job
@options.url
@options.as_json
def command(job: str, url: str | None, as_json: bool) -> None:
    """Show everything that happened to a job, oldest first."""
    found: list[dict[str, Any]] = []
    with connect(url) as client:
        while page := client.events(job, after=found[-1]["version"] if found else -1, limit=PAGE)["events"]:
            found += page
            if len(page) < PAGE:
                break
    if as_json:
        emit({"job_id": job, "events": found})
        return
    table(("AT", "ATTEMPT", "EVENT", "NOTE"), [(one["at"], str(one["attempt"] or ""), *_told(one)) for one in found])


def _told(event: Mapping[str, Any]) -> tuple[str, str]:
    """Give what happened, and what is known of it: the cause if there is one, else the facts."""
    data = event["data"]
    note = data.get("note", "")
    facts = {name: value for name, value in data.items() if name != "note" and isinstance(value, str | int | float)}
    told = ", ".join(str(value) if name == note else f"{name} {value}" for name, value in facts.items())
    known = data.get("error") or data.get("why") or data.get("reason") or told
    moved = f"{event['from'] or 'new'} -> {event['to']}" if event["to"] else event["kind"].replace("_", " ")
    return moved, ": ".join(filter(None, (note, str(known))))
