"""stoker cancel: end jobs."""

from __future__ import annotations

import click

from stoker.cli import options
from stoker.cli.connect import connect, for_each
from stoker.client import Answer


@click.command("cancel")
@options.jobs
@click.option("--wait", is_flag=True, help="Come back only when nothing of them runs any more.")
@options.url
@options.as_json
def command(jobs: tuple[str, ...], wait: bool, url: str | None, as_json: bool) -> None:
    """End jobs.

    A job is cancelled once nothing of it runs any more. To ask twice is harmless.
    """
    with connect(url) as client:

        def cancel(job: str) -> Answer:
            answer = client.cancel(job)
            if not wait:
                return answer
            end = client.wait(job)["status"]
            return answer | {"status": end, "message": f"The job is {end}; nothing of it runs"}

        for_each(jobs, cancel, as_json=as_json)
