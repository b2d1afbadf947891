"""stoker show: everything about one job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from stoker.cli import options
from stoker.cli.connect import connect
from stoker.cli.output import age, emit, figure, pairs, percent, span, state_of


@click.command("show")
@options.job
@options.url
@options.as_json
def command(job: str, url: str | None, as_json: bool) -> None:
    """Show a job: its state, its progress, whether it is alive, and what went wrong."""
    with connect(url) as client:
        status = client.status(job)
    if as_json:
        emit(status)
    else:
        pairs((*_what(status), *_progress(status), *_life(status), *_end(status)))


def _what(status: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    yield "job", status["job_id"]
    yield "name", status["name"]
    yield "state", state_of(status)
    yield "waits", status["waiting_reason"]
    yield "error", status["error"]
    yield "reason", status["reason"]
    yield "recipe", status["recipe"]
    yield "model", status["model_name"]
    yield "data set", status["dataset_path"]
    yield "owner", status["owner"]
    yield "priority", status["priority"] or None
    yield "attempt", status["attempt"] or None
    yield "created", _when(status["created_at"])
    yield "started", _when(status["started_at"])
    yield "paused", _when(status["paused_at"])
    yield "ended", _when(status["completed_at"])


def _progress(status: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    step, total = status["current_step"], status["total_steps"]
    if step is not None:
        yield "progress", f"step {step} of {total} ({percent(status['progress'])})" if total else f"step {step}"
    yield "epoch", figure(status["current_epoch"]) or None
    yield "loss", figure(status["loss"]) or None
    yield "eval loss", figure(status["eval_loss"]) or None
    yield "best eval loss", figure(status["best_eval_loss"]) or None
    yield "learning rate", figure(status["learning_rate"]) or None
    yield "samples/s", figure(status["samples_per_second"], 3) or None
    yield "time left", span(status["eta_seconds"]) or None if status["status"] == "running" else None
    yield "resumed from", status["resume_from_checkpoint"]


def _life(status: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    yield "phase", status["phase"]
    yield "watched by", status["watched_by"]
    yield "suspect", status["suspect"]
    yield "heartbeat", _ago(status["heartbeat_age_seconds"])
    yield "last progress", _ago(status["progress_age_seconds"])
    yield "supervisor", status["supervisor_pid"]
    yield "trainer", status["process_pid"]


def _end(status: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    yield "exit code", status["exit_code"]
    yield "signal", status["signal"]
    yield "steps lost", (status["stopped_at"] or {}).get("steps_lost")
    yield "unclean", "some of its processes would not die" if status["unclean"] else None
    yield "again from", status["retried_from"]


def _when(at: str | None) -> str | None:
    return None if at is None else f"{at} ({age(at)} ago)"


def _ago(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds:.1f} s ago"
