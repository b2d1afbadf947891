"""stoker queue: what runs, what waits, in which order and why."""

from __future__ import annotations

import click

from stoker.cli import options
from stoker.cli.connect import connect
from stoker.cli.output import emit, percent, say, table


@click.command("queue")
@options.url
@options.as_json
def command(url: str | None, as_json: bool) -> None:
    """Show what runs and what waits, in the order in which it will start."""
    with connect(url) as client:
        answer = client.queue()
    if as_json:
        emit(answer)
        return
    say(f"{answer['running_count']} of {answer['slots']} slots taken, {answer['queued_count']} waiting")
    rows = [("-", job["job_id"], job["status"], percent(job["progress"])) for job in answer["running_jobs"]]
    rows += [
        (str(job["position"]), job["job_id"], job["status"], job["waiting_reason"]) for job in answer["queued_jobs"]
    ]
    if rows:
        table(("PLACE", "JOB", "STATE", "NOTE"), rows)
