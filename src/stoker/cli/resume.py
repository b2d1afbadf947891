"""stoker resume: let a paused job go on."""

from __future__ import annotations

import click

from stoker.cli import options
from stoker.cli.connect import connect
from stoker.cli.output import tell


@click.command("resume")
@options.job
@click.option("--checkpoint", metavar="PATH", help="One of the job's checkpoints. Default: the newest that verifies.")
@options.url
@options.as_json
def command(job: str, checkpoint: str | None, url: str | None, as_json: bool) -> None:
    """Let a paused job go on from its newest checkpoint that verifies."""
    with connect(url) as client:
        tell(client.resume(job, checkpoint_path=checkpoint), as_json=as_json)
