"""How a job looks from outside: the original's fields, and what they lacked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from stoker.domain.job import Attempt, Job
from stoker.domain.states import ACTIVE, JobState
from stoker.rundir.journal import boottime

ORIGINAL_PROGRESS = (
    "progress", "current_epoch", "total_epochs", "current_step", "total_steps", "loss", "eval_loss", "learning_rate",
    "max_learning_rate", "batch_size", "gradient_accumulation_steps", "grad_norm", "gpu_memory_allocated_gb",
    "gpu_memory_reserved_gb", "gpu_utilization_percent", "elapsed_seconds", "remaining_seconds", "eta_seconds",
    "samples_per_second", "tokens_per_second", "perplexity", "train_perplexity", "best_eval_loss", "best_epoch",
    "best_step", "epochs_without_improvement", "loss_trend", "total_samples", "train_samples", "val_samples",
    "total_tokens_processed",
)  # fmt: skip
"""The progress fields of the original's job object; null until the trainer reports them."""

SUMMARY_PROGRESS = ("progress", "current_step", "total_steps", "current_epoch", "loss", "eval_loss", "eta_seconds")


def iso(at: float | None) -> str | None:
    """Give a time as RFC 3339 in UTC."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def summary(job: Job, attempt: Attempt | None) -> dict[str, Any]:
    """Give what a list shows of a job."""
    progress = attempt.progress if attempt else {}
    return {
        "job_id": job.id,
        "name": job.name,
        "status": job.state.value,
        "user_id": job.user_id,
        "owner": job.owner,
        "recipe": job.spec.recipe,
        "priority": job.priority,
        "attempt": job.attempt,
        "reason": job.reason.value if job.reason else None,
        "error": job.error,
        "stop_request": job.stop.kind.value if job.stop else None,
        "created_at": iso(job.created_at),
        "started_at": iso(job.started_at),
        "completed_at": iso(job.completed_at),
        "updated_at": iso(job.updated_at),
        **{name: progress.get(name) for name in SUMMARY_PROGRESS},
    }


def full(job: Job, attempt: Attempt | None, vitals: dict[str, Any] | None) -> dict[str, Any]:
    """Give the whole job object. `vitals` is what the supervisor of a live attempt sees now."""
    progress = attempt.progress if attempt else {}
    return {
        **summary(job, attempt),
        **{name: progress.get(name) for name in ORIGINAL_PROGRESS},
        **_end(job),
        **_liveness(job, attempt, vitals or {}),
        "config": job.spec.config,
        "model_name": _model_name(job),
        "dataset_path": job.spec.dataset_path,
        "resume_from_checkpoint": (attempt.overrides.get("resume_from") if attempt else None) or job.resume_from,
        "retried_from": job.retried_from,
        "num_gpus": job.spec.gpus,
        "distributed_strategy": None,
        "parameter_updates": [],
        "last_parameter_update_at": None,
        "paused_at": iso(job.paused_at),
        "attempts_lost": job.lost_attempts,
        "version": job.version,
    }


def _end(job: Job) -> dict[str, Any]:
    return {
        "error_message": job.error,
        "exit_code": job.exit_code,
        "signal": job.signal,
        "unclean": job.unclean,
    }


def _liveness(job: Job, attempt: Attempt | None, vitals: dict[str, Any]) -> dict[str, Any]:
    live = (attempt.live if attempt else {}) | vitals
    is_active = job.state in ACTIVE
    return {
        "phase": live.get("phase") if is_active else None,
        "watched_by": live.get("watched_by"),
        "suspect": live.get("suspect") if is_active else None,
        "heartbeat_age_seconds": _age(vitals.get("heartbeat_at")) if is_active else None,
        "progress_age_seconds": _age(vitals.get("progress_at")) if is_active else None,
        "stop_step": live.get("stop_step") if is_active else None,
        "gpu_receipt": attempt.receipt if attempt else None,
        "supervisor_pid": live.get("supervisor_pid") if is_active else None,
        "process_pid": live.get("process_pid") if is_active else None,
        "engine": attempt.engine if attempt else None,
        "stopped_at": (attempt.end or {}).get("details") if attempt and job.state is JobState.PAUSED else None,
    }


def _age(at: object) -> float | None:
    return round(max(0.0, boottime() - at), 3) if isinstance(at, int | float) else None


def _model_name(job: Job) -> str | None:
    model = job.spec.config.get("model")
    return model.get("name") if isinstance(model, dict) else None
