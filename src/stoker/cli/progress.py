"""How a job's progress looks while it is watched: a live bar on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stoker.cli.output import COLOURS, figure, harmless, note, span, state_of
from stoker.client import Answer

LINE_SECONDS = 2.0
AWAY = "the server is away; the job goes on, and so does this as soon as it is back"


def told(status: Answer) -> Iterator[str]:
    """Give what is to be said of a job now, in short pieces."""
    step, total = status["current_step"], status["total_steps"]
    if step is not None:
        yield f"step {step}/{total}" if total else f"step {step}"
    if status["loss"] is not None:
        yield f"loss {figure(status['loss'])}"
    if status["eval_loss"] is not None:
        yield f"eval {figure(status['eval_loss'])}"
    yield from _speed(status)
    if status["status"] == "running" and status["eta_seconds"] is not None:
        yield f"{span(status['eta_seconds'])} left"
    if status["phase"] not in (None, "training"):
        yield str(status["phase"])
    for name in ("suspect", "waiting_reason"):
        if status[name]:
            yield str(status[name])


def _speed(status: Answer) -> Iterator[str]:
    for name, unit in (("tokens_per_second", "tok/s"), ("samples_per_second", "samples/s")):
        if status.get(name):
            yield f"{figure(status[name], 3)} {unit}"
            return


def last_words(end: Answer) -> str:
    """Say how a job ended."""
    took = span(end["elapsed_seconds"]) if end.get("elapsed_seconds") else ""
    why = f": {end['error']}" if end["error"] and end["status"] == "failed" else ""
    unclean = " Some of its processes would not die; see `stoker show`." if end["unclean"] else ""
    return f"Job {end['job_id']} {end['status']}{f' after {took}' if took else ''}{why}.{unclean}"


class Bar:
    """A bar that is redrawn in place."""

    def __init__(self) -> None:
        """Take standard error for the bar, so that standard output stays clean."""
        self._live = Live(console=Console(stderr=True), transient=True, refresh_per_second=8)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        self._live.stop()

    def show(self, status: Answer) -> None:
        """Draw a status."""
        grid = Table.grid(padding=(0, 1))
        state = state_of(status)
        bar = ProgressBar(total=100, completed=status["progress"] or 0, width=28)
        percent = f"{status['progress'] or 0:3.0f} %"
        grid.add_row(Text(state, style=COLOURS.get(state, "")), bar, percent, Text(harmless("  ".join(told(status)))))
        self._live.update(grid)

    def lost(self) -> None:
        """Say that the server is away."""
        self._live.update(Text(AWAY, style="yellow"))


class Lines:
    """A line for every change of state, and one every few seconds in between."""

    def __init__(self) -> None:
        """Begin with nothing shown."""
        self._shown: tuple[Any, ...] = ()
        self._at = float("-inf")

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""

    def show(self, status: Answer) -> None:
        """Print a line if there is something to say."""
        state = (state_of(status), status["attempt"], status["waiting_reason"])
        if state == self._shown and time.monotonic() - self._at < LINE_SECONDS:
            return
        self._shown, self._at = state, time.monotonic()
        note("  ".join((state_of(status), *told(status))))

    def lost(self) -> None:
        """Say that the server is away."""
        note(AWAY)
