"""stoker reconnect: compare the records with what really runs."""

from __future__ import annotations

import click

from stoker.cli import options
from stoker.cli.connect import connect
from stoker.cli.output import emit, say


@click.command("reconnect")
@options.url
@options.as_json
def command(url: str | None, as_json: bool) -> None:
    """Look at every open attempt now and say what was found. Harmless at any time."""
    with connect(url) as client:
        answer = client.reconnect()
    if as_json:
        emit(answer)
        return
    say(f"{answer['message']}.")
    for attempt, finding in answer.get("findings", {}).items():
        say(f"  {attempt}  {finding}")
