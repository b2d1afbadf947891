"""From what a trainer reports to the figures that people see: pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from stoker.store.port import MetricRow

FRAME = frozenset({"seq", "t", "at", "kind", "step", "total", "epoch", "flags", "phase", "note", "path"})
"""Fields of a line that describe it; every other number in it is a value."""

PASSED_ON = (
    "total_epochs", "batch_size", "gradient_accumulation_steps", "total_samples", "train_samples", "val_samples",
    "max_learning_rate", "total_tokens_processed",
)  # fmt: skip
COUNTS = frozenset({"current_step", "total_steps"})
"""Figures that are counted with: anything but a whole number of a sound size is passed over."""

TREND_WINDOW = 5

MEMORY = frozenset({"recent_losses", "first_step", "first_step_at", "began_at", "flags"})
"""Names in the latest figures that are our own memory: nothing reported may take them."""

MAX_NAMES = 256
"""A line gives no more values than this, and the latest figures keep no more of them."""

MAX_NAME = 128
"""A longer name of a value is passed over."""

LAST_MOMENT = 253_402_300_799.0
"""The end of the year 9999 in seconds since 1970: no later time can be written as a date."""


def metric_row(seq: int, line: Mapping[str, Any], now: float) -> MetricRow:
    """Give a reported line as a row. What is not a finite number becomes null and is named in the flags."""
    values, flags = _values(line)
    step, kind = line.get("step"), line.get("kind")
    return MetricRow(
        seq=seq,
        at=_moment(line.get("at"), now),
        step=step if _is_whole(step) else None,
        epoch=_number(line.get("epoch")),
        kind=kind[:32].replace("\0", "?") if isinstance(kind, str) else "metrics",
        values=values,
        flags=flags,
    )


def _values(line: Mapping[str, Any]) -> tuple[dict[str, float | None], dict[str, str]]:
    given = line["flags"] if isinstance(line.get("flags"), dict) else {}
    values: dict[str, float | None] = {}
    flags: dict[str, str] = {}
    for name, value in line.items():
        if name in FRAME or name in MEMORY or len(name) > MAX_NAME or len(values) >= MAX_NAMES:
            continue
        if value is None and name in given:
            values[name], flags[name] = None, str(given[name])[:MAX_NAME]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            values[name] = _number(value)
            if values[name] is None:
                flags[name] = _flag(value)
    return values, flags


def advance(progress: Mapping[str, Any], line: Mapping[str, Any], row: MetricRow) -> dict[str, Any]:
    """Give the latest figures after one more line, in the original's words."""
    new = dict(progress)
    if row.step is not None:
        new["current_step"] = row.step
    if row.epoch is not None:
        new["current_epoch"] = row.epoch
    if _is_whole(line.get("total")) and row.kind != "eval":
        new["total_steps"] = line["total"]
    for name, value in row.values.items():
        if name in new or len(new) < MAX_NAMES:
            new[name] = value
    new |= {name: line[name] for name in PASSED_ON if row.values.get(name) is not None}  # whole numbers stay whole
    if row.flags:
        new["flags"] = dict(row.flags)
    if row.kind == "hello":
        new["began_at"] = row.at
    return _derive(new, row)


def from_progress_file(progress: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """Give the latest figures after a progress.json in the original's format."""
    new = dict(progress)
    for name, value in content.items():
        if name in MEMORY or len(name) > MAX_NAME or (name not in new and len(new) >= MAX_NAMES):
            continue
        if name in COUNTS and not _is_whole(value):
            continue
        if _number(value) is not None or (isinstance(value, str) and name == "loss_trend"):
            new[name] = value if isinstance(value, int | float) else value[:MAX_NAME]
    if "train_loss" in new:
        new["loss"] = new["train_loss"]
    if "progress_percent" in new:
        new["progress"] = new["progress_percent"]
    return new


def _derive(new: dict[str, Any], row: MetricRow) -> dict[str, Any]:
    step, total = new.get("current_step"), new.get("total_steps")
    if step is not None and total is not None and total > 0:
        new["progress"] = round(100.0 * min(step, total) / total, 2)
        _estimate_time(new, row, step, total)
    if (loss := row.values.get("loss")) is not None:
        new["train_perplexity"] = _perplexity(loss)
        recent = [*new.get("recent_losses", []), loss][-2 * TREND_WINDOW :]
        new["recent_losses"], new["loss_trend"] = recent, trend(recent)
    if (eval_loss := row.values.get("eval_loss")) is not None:
        new["perplexity"] = _perplexity(eval_loss)
        _note_best(new, eval_loss, row)
    return new


def _estimate_time(new: dict[str, Any], row: MetricRow, step: int, total: int) -> None:
    """Estimate the rest from the steps of this attempt alone: a resumed one did not take the earlier steps."""
    first_at, first_step = new.setdefault("first_step_at", row.at), new.setdefault("first_step", step)
    new["elapsed_seconds"] = round(max(0.0, row.at - new.get("began_at", first_at)), 3)
    if step > first_step:
        remaining = max(0.0, row.at - first_at) / (step - first_step) * max(0, total - step)
        new["remaining_seconds"] = new["eta_seconds"] = round(remaining, 1)


def _note_best(new: dict[str, Any], eval_loss: float, row: MetricRow) -> None:
    best = new.get("best_eval_loss")
    if best is None or eval_loss < best:
        new |= {"best_eval_loss": eval_loss, "best_step": row.step or new.get("current_step")}
        new |= {"best_epoch": row.epoch or new.get("current_epoch"), "epochs_without_improvement": 0}
    else:
        new["epochs_without_improvement"] = (new.get("epochs_without_improvement") or 0) + 1


def trend(losses: list[float]) -> str:
    """Say where the loss goes, from the means of the older and the newer half of the last points."""
    if len(losses) < 2 * TREND_WINDOW:
        return "insufficient_data"
    older, newer = sum(losses[:TREND_WINDOW]) / TREND_WINDOW, sum(losses[TREND_WINDOW:]) / TREND_WINDOW
    change = (newer - older) / abs(older) if older else newer - older
    if abs(change) < 0.01:  # noqa: PLR2004 - within one percent is noise
        return "stable"
    return "improving" if change < 0 else "degrading"


def _perplexity(loss: float) -> float | None:
    return math.exp(loss) if loss < 700 else None  # noqa: PLR2004 - exp overflows a double above


def _flag(value: float) -> str:
    if value != value:  # noqa: PLR0124 - the test for NaN
        return "nan"
    return "inf" if value > 0 else "-inf"


def _moment(value: object, now: float) -> float:
    at = _number(value)
    return at if at is not None and 0 < at < LAST_MOMENT else now


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
