"""The spec: what a user asked for, as validated and resolved. It never changes after the submit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stoker.domain.limits import Limits


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSpec:
    """One request for training.

    `config` holds the recipe's own parameters. `secrets` are names only; their values live in a file of mode 0600
    beside the job and reach the trainer through its environment. `artifacts` are glob patterns, relative to the
    working directory, that must match for the job to count as completed.
    """

    recipe: str = "finetune"
    config: dict[str, Any] = field(default_factory=dict)
    dataset_path: str | None = None
    command: tuple[str, ...] = ()
    cwd: str | None = None
    python: str | None = None
    prefix: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    gpus: int = 0
    artifacts: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
