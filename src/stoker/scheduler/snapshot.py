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
TREND_WINDOW = 5


def metric_row(seq: int, line: Mapping[str, Any], now: float) -> MetricRow:
    """Give a reported line as a row. What is not a finite number becomes null and is named in the flags."""
    values: dict[str, float | None] = {}
    flags = {str(k): str(v) for k, v in line["flags"].items()} if isinstance(line.get("flags"), dict) else {}
    for name, value in line.items():
        if name in FRAME:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            if value is None and name in flags:
                values[name] = None
            continue
        values[name] = float(value) if _is_finite(value) else None
        if values[name] is None:
            flags[name] = "nan" if value != value else "inf"  # noqa: PLR0124 - the test for NaN
    step, epoch = line.get("step"), line.get("epoch")
    return MetricRow(
        seq=seq,
        at=_number(line.get("at")) or now,
        step=step if _is_whole(step) else None,
        epoch=_number(epoch),
        kind=str(line.get("kind", "metrics"))[:32],
        values=values,
        flags=flags,
    )


def advance(progress: Mapping[str, Any], line: Mapping[str, Any], row: MetricRow) -> dict[str, Any]:
    """Give the latest figures after one more line, in the original's words."""
    new = dict(progress)
    if row.step is not None:
        new["current_step"] = row.step
    if row.epoch is not None:
        new["current_epoch"] = row.epoch
    if _is_whole(line.get("total")) and row.kind != "eval":
        new["total_steps"] = line["total"]
    new |= {name: value for name, value in row.values.items() if value is not None}
    new |= {name: line[name] for name in PASSED_ON if _number(line.get(name)) is not None}
    if row.flags:
        new["flags"] = dict(row.flags)
        new |= dict.fromkeys(row.flags)
    if row.kind == "hello":
        new["began_at"] = row.at
    return _derive(new, row)


def from_progress_file(progress: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """Give the latest figures after a progress.json in the original's format."""
    new = dict(progress)
    for name, value in content.items():
        if isinstance(value, bool) or len(name) > 64:  # noqa: PLR2004
            continue
        if (isinstance(value, int | float) and _is_finite(value)) or (isinstance(value, str) and name == "loss_trend"):
            new[name] = value
    if "train_loss" in new:
        new["loss"] = new["train_loss"]
    if "progress_percent" in new:
        new["progress"] = new["progress_percent"]
    return new


def _derive(new: dict[str, Any], row: MetricRow) -> dict[str, Any]:
    step, total = new.get("current_step"), new.get("total_steps")
    if step is not None and total:
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
    new["elapsed_seconds"] = round(row.at - new.get("began_at", first_at), 3)
    if step > first_step:
        remaining = (row.at - first_at) / (step - first_step) * max(0, total - step)
        new["remaining_seconds"] = new["eta_seconds"] = round(remaining, 1)


def _note_best(new: dict[str, Any], eval_loss: float, row: MetricRow) -> None:
    best = new.get("best_eval_loss")
    if best is None or eval_loss < best:
        new |= {"best_eval_loss": eval_loss, "best_step": row.step or new.get("current_step")}
        new |= {"best_epoch": row.epoch or new.get("current_epoch"), "epochs_without_improvement": 0}
    else:
        new["epochs_without_improvement"] = new.get("epochs_without_improvement", 0) + 1


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


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        return None
    return float(value)
