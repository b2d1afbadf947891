"""stoker checkpoints: what a job saved."""

from __future__ import annotations

import click

from stoker.cli import options
from stoker.cli.connect import connect
from stoker.cli.output import emit, figure, say, table

MEBIBYTE = 1 << 20


@click.command("checkpoints")
@options.job
@options.url
@options.as_json
def command(job: str, url: str | None, as_json: bool) -> None:
    """List the complete checkpoints of a job, oldest first."""
    with connect(url) as client:
        answer = client.checkpoints(job)
    if as_json:
        emit(answer)
        return
    if not answer["checkpoints"]:
        say("The job has no complete checkpoint.")
        return
    rows = [
        (
            str(one["step"]),
            figure(one["train_loss"]),
            figure(one["eval_loss"]),
            f"{one['size_bytes'] / MEBIBYTE:.1f} MiB",
            "best" if one["is_best"] else "",
            one["path"],
        )
        for one in answer["checkpoints"]
    ]
    table(("STEP", "LOSS", "EVAL LOSS", "SIZE", "", "PATH"), rows)
