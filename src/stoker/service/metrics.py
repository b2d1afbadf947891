"""Metrics: what the trainer reported, as points, each once."""

from __future__ import annotations

import re
from typing import Any

from stoker.domain.actor import Actor
from stoker.domain.errors import invalid
from stoker.service.context import Context, visible
from stoker.service.view import iso
from stoker.store.port import MetricRow

MAX_POINTS = 10_000
SINCE_FORM = re.compile(r"(?:([0-9]{1,9})\.)?(-1|[0-9]{1,15})")


def metrics(
    context: Context, actor: Actor, job_id: str, *, since: str | None = None, limit: int = MAX_POINTS
) -> dict[str, Any]:
    """Give the points after `since`, over all attempts in order; `next` is what to ask with the next time.

    A sequence number counts within its attempt, so `since` is `<attempt number>.<sequence>`; a bare number means
    the newest attempt. Raises `NotFound`, `InvalidRequest`.
    """
    job, _ = visible(context, actor, job_id)
    if not 1 <= limit <= MAX_POINTS:
        raise invalid("limit", f"{limit} is out of range", f"Use a number from 1 to {MAX_POINTS}")
    number, after = _parse(since, job.attempt)
    points: list[dict[str, Any]] = []
    last = since or None
    for attempt in context.store.attempts(job_id):
        if attempt.number < number or len(points) >= limit:
            continue
        rows = context.store.metrics(attempt.id, after if attempt.number == number else -1, limit - len(points))
        points += [point(attempt.number, row) for row in rows]
        last = f"{attempt.number}.{rows[-1].seq}" if rows else last
    return {"job_id": job_id, "metrics": points, "next": last}


def point(attempt: int, row: MetricRow) -> dict[str, Any]:
    """Give a row as the original's point: the common words first, then whatever else was reported.

    `attempt` is the number of the attempt that reported it.
    """
    values = dict(row.values)
    shown: dict[str, Any] = {
        "attempt": attempt,
        "seq": row.seq,
        "kind": row.kind,
        "step": row.step,
        "epoch": row.epoch,
        "timestamp": iso(row.at),
        "train_loss": values.get("loss"),
        **values,
    }
    if row.flags:
        shown["flags"] = row.flags
    return shown


def _parse(since: str | None, newest: int) -> tuple[int, int]:
    if not since:
        return 0, -1
    form = SINCE_FORM.fullmatch(since)
    if form is None:
        raise invalid("since", f"'{since[:60]}' is no sequence number", "Use the `next` of an earlier answer")
    number, seq = form.groups()
    return (newest, int(seq)) if number is None else (int(number), int(seq))
