"""stoker pause: let jobs save their work and stop."""

from __future__ import annotations

import click

from stoker.cli import options
from stoker.cli.connect import connect, for_each


@click.command("pause")
@options.jobs
@options.url
@options.as_json
def command(jobs: tuple[str, ...], url: str | None, as_json: bool) -> None:
    """Let jobs save a checkpoint and stop.

    `stoker resume` lets them go on exactly where they were.
    """
    with connect(url) as client:
        for_each(jobs, client.pause, as_json=as_json)
