"""stoker force-start: to the head of the queue, or a new job like one that has ended."""

from __future__ import annotations

import click

from stoker.cli import options
from stoker.cli.connect import connect
from stoker.cli.output import tell


@click.command("force-start")
@options.job
@options.url
@options.as_json
def command(job: str, url: str | None, as_json: bool) -> None:
    """Move a queued job to the head of the queue; make a new job of one that has ended."""
    with connect(url) as client:
        tell(client.force_start(job), as_json=as_json)
