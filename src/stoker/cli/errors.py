"""stoker errors: what went wrong with a job."""

from __future__ import annotations

import click

from stoker.cli import options
from stoker.cli.connect import connect
from stoker.cli.output import emit, say


@click.command("errors")
@options.job
@options.url
@options.as_json
def command(job: str, url: str | None, as_json: bool) -> None:
    """Show why a job failed: the sentence, the error lines of its log, its last traceback."""
    with connect(url) as client:
        answer = client.errors(job)
    if as_json:
        emit(answer)
        return
    reason = f" ({answer['reason']})" if answer.get("reason") else ""
    say(f"{answer['error_summary']}{reason}" if answer["error_summary"] else "The job has not failed.")
    for one in answer["errors"]:
        often = f"  ({one['count']} times)" if one["count"] > 1 else ""
        say(f"  line {one['line']}: {one['message']}{often}")
    if answer["traceback"]:
        say(answer["traceback"]["raw"])
