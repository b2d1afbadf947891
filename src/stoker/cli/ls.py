"""stoker ls: list jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from stoker.cli import options
from stoker.cli.connect import connect
from stoker.cli.output import age, emit, figure, note, percent, span, state_of, table
from stoker.client import Client

PAGE = 200


@click.command("ls")
@click.option("--state", "-s", multiple=True, metavar="STATE", help="Only jobs in this state. May be repeated.")
@click.option("--recipe", metavar="NAME", help="Only jobs of this recipe.")
@click.option("--search", "text", metavar="TEXT", help="Only jobs with this in their id or name.")
@click.option("--limit", "-n", type=click.IntRange(min=1), default=20, metavar="N", help="At most N. Default: 20.")
@click.option("--all", "-a", "is_all", is_flag=True, help="Without a limit.")
@options.url
@options.as_json
def command(
    *,
    state: tuple[str, ...],
    recipe: str | None,
    text: str | None,
    limit: int,
    is_all: bool,
    url: str | None,
    as_json: bool,
) -> None:
    """List jobs, newest first, with their progress and why they wait."""
    wanted = None if is_all else limit
    with connect(url) as client:
        found, rest = _collect(client, wanted, states=state, recipe=recipe, text=text)
        reasons = _reasons(client) if any(job["status"] == "queued" for job in found) else {}
    shown = [job | {"waiting_reason": reasons.get(job["job_id"])} for job in found]
    if as_json:
        emit({"jobs": shown, "next": rest})
        return
    table(("JOB", "NAME", "STATE", "PROGRESS", "LOSS", "LEFT", "AGE", "NOTE"), [tuple(_row(job)) for job in shown])
    if rest is not None:
        note(f"There are more than these {len(shown)}; --all shows all.")


def _collect(client: Client, wanted: int | None, **filters: Any) -> tuple[list[dict[str, Any]], str | None]:
    found: list[dict[str, Any]] = []
    after: str | None = None
    while wanted is None or len(found) < wanted:
        page = client.jobs(limit=PAGE if wanted is None else min(PAGE, wanted - len(found)), after=after, **filters)
        found += page["jobs"]
        after = page["next"]
        if after is None:
            break
    return found, after


def _reasons(client: Client) -> dict[str, str]:
    return {job["job_id"]: job["waiting_reason"] for job in client.queue()["queued_jobs"]}


def _row(job: Mapping[str, Any]) -> Iterator[str]:
    yield job["job_id"]
    yield job["name"] or ""
    yield state_of(job)
    yield percent(job["progress"])
    yield figure(job["loss"])
    yield span(job["eta_seconds"]) if job["status"] == "running" else ""
    yield age(job["created_at"])
    yield job["waiting_reason"] or job["error"] or ""
