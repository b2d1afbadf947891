"""stoker metrics: what the trainer reported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from stoker.cli import options
from stoker.cli.connect import connect
from stoker.cli.output import emit, figure, say, table
from stoker.client import Client

FRAME = ("attempt", "seq", "kind", "step", "epoch", "timestamp", "train_loss", "flags")
PAGE = 10_000


@click.command("metrics")
@options.job
@click.option("--since", metavar="A.N", help="Only points after sequence number N of attempt A.")
@click.option("--last", "-n", type=click.IntRange(min=1), metavar="N", help="Only the last N.")
@options.url
@options.as_json
def command(job: str, since: str | None, last: int | None, url: str | None, as_json: bool) -> None:
    """Show the points that the trainer reported, over all attempts. With --json one point per line."""
    with connect(url) as client:
        points = list(every_point(client, job, since))
    points = points[-last:] if last else points
    if as_json:
        for one in points:
            emit(one)
    elif points:
        _draw(points)
    else:
        say("Nothing was reported yet.")


def every_point(client: Client, job: str, since: str | None = None) -> Iterator[dict[str, Any]]:
    """Give all points of a job after `since`, page by page."""
    while True:
        answer = client.metrics(job, since=since, limit=PAGE)
        yield from answer["metrics"]
        if len(answer["metrics"]) < PAGE:
            return
        since = answer["next"]


def _draw(points: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for one in points for name in one if name not in FRAME))
    table(("ATTEMPT", "STEP", "EPOCH", *names), [list(_row(one, names)) for one in points])


def _row(one: Mapping[str, Any], names: list[str]) -> Iterator[str]:
    flags = one.get("flags", {})
    yield str(one["attempt"])
    yield "" if one["step"] is None else str(one["step"])
    yield figure(one["epoch"])
    for name in names:
        yield figure(one.get(name)) or flags.get(name, "")
