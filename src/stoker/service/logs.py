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


def logs(
    context: Context, actor: Actor, job_id: str, *, limit: int = 100, offset: int = 0, attempt: int | None = None
) -> dict[str, Any]:
    """Give up to `limit` lines from line `offset` on; a negative offset counts from the end.

    Without `attempt` the logs of all attempts follow one another. Raises `NotFound`, `InvalidRequest`.
    """
    visible(context, actor, job_id)
    if not 1 <= limit <= MAX_LINES:
        raise invalid("limit", f"{limit} is out of range", f"Use a number from 1 to {MAX_LINES}")
    parts, total = _parts(context, job_id, attempt)
    first = max(0, total + offset) if offset < 0 else offset
    lines: list[bytes] = []
    for part in parts:
        room = limit - len(lines)
        start = max(0, first - part.first)
        if room > 0 and start < part.lines:
            lines += part.channel.log_lines(start, min(room, part.lines - start))
    text = [line.decode("utf-8", "replace") for line in lines]
    return {"job_id": job_id, "logs": text, "total_lines": total, "offset": first, "limit": limit}


def _parts(context: Context, job_id: str, only: int | None) -> tuple[list[_Part], int]:
    parts, total = [], 0
    for attempt in context.store.attempts(job_id):
        if only is not None and attempt.number != only:
            continue
        channel = context.channel(attempt)
        _, lines = channel.log_size()
        parts.append(_Part(channel, total, lines))
        total += lines
    return parts, total
