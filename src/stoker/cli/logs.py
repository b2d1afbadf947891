"""stoker logs: what a job printed, and what it prints from now on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import click

from stoker.cli import options
from stoker.cli.connect import connect
from stoker.cli.following import detaching
from stoker.cli.output import emit, note, say
from stoker.client import Client
from stoker.client.verbs import has_ended

PAGE = 2000
BELLS = ("log", "state", "deleted")


@click.command("logs")
@options.job
@click.option("--follow", "-f", is_flag=True, help="Go on until the job has ended. Ctrl-C leaves it running.")
@click.option("--tail", "-n", type=click.IntRange(min=0), metavar="N", help="Begin with the last N lines.")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="Only the lines of this attempt.")
@options.url
@options.as_json
def command(job: str, follow: bool, tail: int | None, attempt: int | None, *, url: str | None, as_json: bool) -> None:
    """Show what a job printed, over all its attempts. With --json one line of the log per line."""
    with connect(url) as client:
        reader = Reader(client, job, attempt)
        if tail is not None:
            reader.go_back(tail)
        lines = reader.follow() if follow else reader.rest()
        with detaching(job):
            for number, text in lines:
                emit({"line": number, "text": text}) if as_json else say(text)


class Reader:
    """Reads a log by the numbers of its lines, so that none is shown twice or left out whatever breaks in between."""

    def __init__(self, client: Client, job: str, attempt: int | None) -> None:
        """Begin with the first line."""
        self._client, self._job, self._attempt = client, job, attempt
        self._next = 0

    def go_back(self, lines: int) -> None:
        """Begin with the last so many lines."""
        page = self._client.logs(self._job, offset=-max(1, lines), limit=1, attempt=self._attempt)
        self._next = max(0, page["total_lines"] - lines)

    def rest(self) -> Iterator[tuple[int, str]]:
        """Give the lines that are there, a last one that is not complete included."""
        return self._read("total_lines")

    def follow(self) -> Iterator[tuple[int, str]]:
        """Give every complete line as it comes, until the job has ended; the feed only rings the bell."""
        with closing(self._client.stream([self._job], kinds=BELLS)) as feed:
            for event in feed:
                if event.kind == "closed":
                    continue
                is_over = event.may_end and has_ended(self._client.status(self._job))
                yield from self._read("whole_lines")
                if is_over:
                    return

    def _read(self, up_to: str) -> Iterator[tuple[int, str]]:
        while True:
            page = self._client.logs(self._job, offset=self._next, limit=PAGE, attempt=self._attempt)
            first, count = page["offset"], max(0, page[up_to] - page["offset"])
            if first > self._next and page["logs"]:
                note(f"Lines {self._next} to {first - 1} are gone: a log is kept up to its cap.")
            yield from enumerate(page["logs"][:count], first)
            self._next = first + min(count, len(page["logs"]))
            if self._next >= page[up_to] or not page["logs"]:
                return
