"""stoker priority: change where a job stands in the queue."""

from __future__ import annotations

import click

from stoker.cli import options
from stoker.cli.connect import connect
from stoker.cli.output import tell


@click.command("priority", context_settings={"ignore_unknown_options": True})
@options.job
@click.argument("value", type=int)
@options.url
@options.as_json
def command(job: str, value: int, url: str | None, as_json: bool) -> None:
    """Set the priority of a job that has not ended.

    VALUE is a number from -1000 to 1000; higher starts first.
    """
    with connect(url) as client:
        tell(client.priority(job, value), as_json=as_json)
