"""How commands print: answers to standard output, all else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from stoker.client.errors import ServerError
from stoker.domain.errors import InvalidRequest, StokerError

_TEXT_DIRECTIONS = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_UNSEEN = (*range(0x20), *range(0x7F, 0xA0), *_TEXT_DIRECTIONS, *range(0xD800, 0xE000))
_ESCAPES = {
    code: f"\\x{code:02x}" if code < _TEXT_DIRECTIONS[0] else f"\\u{code:04x}"
    for code in _UNSEEN
    if chr(code) not in "\t\n"
}
"""What could command a terminal or turn the order of a line, and how it is shown instead."""

MINUTE, HOUR, DAY = 60, 3600, 86_400
COLOURS = {
    "queued": "cyan", "pending": "cyan", "running": "green", "paused": "yellow", "completed": "bold green",
    "failed": "bold red", "cancelled": "magenta",
}  # fmt: skip


def harmless(text: str) -> str:
    """Give a text with its control characters written out: names, errors and logs come from the jobs."""
    return text.translate(_ESCAPES)


def say(text: str) -> None:
    """Print a line of the answer for people."""
    print(harmless(text), flush=True)


def note(text: str) -> None:
    """Print a line beside the answer, to standard error."""
    print(harmless(text), file=sys.stderr, flush=True)


def emit(answer: object) -> None:
    """Print an answer as one line of JSON."""
    print(json.dumps(answer, ensure_ascii=False, default=str), flush=True)


def tell(answer: Mapping[str, Any], *, as_json: bool) -> None:
    """Print an answer: whole as JSON, or its message for people."""
    if as_json:
        emit(answer)
    else:
        say(f"{answer['message']}." if "message" in answer else json.dumps(answer))


def complain(error: StokerError, *, as_json: bool) -> None:
    """Print an error to standard error: a sentence, and a line for each faulty field."""
    problems = error.problems if isinstance(error, ServerError | InvalidRequest) else ()
    if as_json:
        faults = [{"field": one.field, "message": one.message, "remedy": one.remedy} for one in problems]
        status = error.status if isinstance(error, ServerError) else None
        told = {"error": str(error), "status": status, "errors": faults}
        print(json.dumps(told, ensure_ascii=False), file=sys.stderr, flush=True)
    elif problems:
        note("The request is wrong:")
        for one in problems:
            note(f"  {one}.")
    else:
        note(f"{str(error).rstrip('.')}.")


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table: in colour to a terminal, as plain aligned columns to anything else."""
    shown = [[harmless(" ".join(cell.split())) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        _plain_table([list(headings), *shown])
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        drawn.add_column(heading, overflow="ellipsis" if heading in ("NOTE", "NAME") else "fold", no_wrap=False)
    for row in shown:
        drawn.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    Console().print(drawn)


def _plain_table(rows: list[list[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def pairs(facts: Iterable[tuple[str, object]]) -> None:
    """Print facts as aligned lines; what is None is left out."""
    known = [(name, str(value)) for name, value in facts if value is not None]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        say(f"{name.ljust(width)}  {value}")


def age(at: str | None) -> str:
    """Say how long ago a time of an answer is."""
    return "" if at is None else span((datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds())


def span(seconds: float | None) -> str:
    """Say a span of time in its two largest units."""
    if seconds is None:
        return ""
    whole = max(0, round(seconds))
    if whole < MINUTE:
        return f"{whole}s"
    if whole < HOUR:
        return f"{whole // MINUTE}m{whole % MINUTE:02d}s"
    if whole < DAY:
        return f"{whole // HOUR}h{whole % HOUR // MINUTE:02d}m"
    return f"{whole // DAY}d{whole % DAY // HOUR:02d}h"


def state_of(job: Mapping[str, Any]) -> str:
    """Give the state as people say it: a stop request that is on its way shows."""
    stopping = {"cancelled": "cancelling", "paused": "pausing"}
    if job["status"] in ("pending", "running") and job.get("stop_request"):
        return stopping.get(_kind(job["stop_request"]), "stopping")
    return str(job["status"])


def _kind(stop: object) -> str:
    return str(stop.get("kind")) if isinstance(stop, Mapping) else str(stop)


def figure(value: object, digits: int = 4) -> str:
    """Give a number as people read it, nothing for None."""
    return f"{value:.{digits}g}" if isinstance(value, int | float) else ""


def percent(value: object) -> str:
    """Give a progress from 0 to 100."""
    return f"{value:.0f} %" if isinstance(value, int | float) else ""
