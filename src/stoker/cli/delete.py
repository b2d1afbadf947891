"""stoker delete: remove jobs that have ended."""

from __future__ import annotations

import sys

import click

from stoker.cli import options
from stoker.cli.connect import connect, for_each


@click.command("delete")
@options.jobs
@click.option("--yes", "-y", is_flag=True, help="Don't ask first.")
@options.url
@options.as_json
def command(jobs: tuple[str, ...], yes: bool, url: str | None, as_json: bool) -> None:
    """Delete jobs that have ended, with their logs, checkpoints and models.

    Their ids stay taken.
    """
    if not yes and sys.stdin.isatty():
        click.confirm(f"Delete {', '.join(jobs)} with all their files?", abort=True, err=True)
    with connect(url) as client:
        for_each(jobs, client.delete, as_json=as_json)
