"""Logs: lines of a job's output, over all its attempts, however long it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stoker.domain.actor import Actor
from stoker.domain.errors import invalid
from stoker.engines.port import AttemptChannel
from stoker.service.context import Context, visible

MAX_LINES = 10_000


@dataclass(frozen=True, slots=True)
class _Part:
    channel: AttemptChannel
    first: int
    lines: int
    whole: int


def logs(
    context: Context, actor: Actor, job_id: str, *, limit: int = 100, offset: int = 0, attempt: int | None = None
) -> dict[str, Any]:
    """Give up to `limit` lines from line `offset` on; a negative offset counts from the end.

    Without `attempt` the logs of all attempts follow one another. In the answer `offset` is that of the first line
    given, later than asked if the beginning was dropped; the lines follow it without a gap. An answer has a bound in
    bytes: lines counted from the end lose their first beyond it, others their last. Lines before
    `whole_lines` are complete; one at or after it may still grow. Raises `NotFound`, `InvalidRequest`.
    """
    visible(context, actor, job_id)
    if not 1 <= limit <= MAX_LINES:
        raise invalid("limit", f"{limit} is out of range", f"Use a number from 1 to {MAX_LINES}")
    parts = _parts(context, job_id, attempt)
    total = parts[-1].first + parts[-1].lines if parts else 0
    first, lines = _read_tail(parts, max(0, total + offset), limit) if offset < 0 else _read(parts, offset, limit)
    return {
        "job_id": job_id,
        "logs": [line.decode("utf-8", "replace") for line in lines],
        "total_lines": total,
        "whole_lines": parts[-1].first + parts[-1].whole if parts else 0,
        "offset": first,
        "limit": limit,
    }


def _read(parts: list[_Part], first: int, limit: int) -> tuple[int, list[bytes]]:
    """Read lines over the attempts up to the first gap, and tell the number of the first."""
    lines: list[bytes] = []
    for part in parts:
        start, room = max(0, first + len(lines) - part.first), limit - len(lines)
        if room <= 0 or start >= part.lines:
            continue
        wanted = min(room, part.lines - start)
        begin, found = part.channel.log_lines(start, wanted)
        if lines and begin > start:
            break
        first = first if lines or not found else part.first + begin
        lines += found
        if len(found) < wanted:
            break
    return first, lines


def _read_tail(parts: list[_Part], first: int, limit: int) -> tuple[int, list[bytes]]:
    """Read the same lines from the last of them backwards, up to the first gap."""
    lines: list[bytes] = []
    end = min(first + limit, parts[-1].first + parts[-1].lines) if parts else first
    begin = end
    for part in reversed(parts):
        start = max(0, first - part.first)
        wanted = begin - part.first - start
        if wanted <= 0:
            continue
        at, found = part.channel.log_tail(start, wanted)
        if lines and at + len(found) < start + wanted:
            break
        begin, lines = (part.first + at if found else begin), found + lines
        if at > start:
            break
    return (begin if lines else first), lines


def _parts(context: Context, job_id: str, only: int | None) -> list[_Part]:
    parts: list[_Part] = []
    total = 0
    for attempt in context.store.attempts(job_id):
        if only is not None and attempt.number != only:
            continue
        channel = context.channel(attempt)
        whole = channel.log_whole_lines()  # counted first: what comes to be whole in between may wait
        _, lines = channel.log_size()
        parts.append(_Part(channel, total, lines, whole if attempt.is_open else lines))
        total += lines
    return parts
