"""What our trainer is told: the run folder's config.json, written by the recipe. Standard library only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from stoker.rundir.layout import JobDir, RunDir


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """One attempt's orders. `config` is resolved: every default is filled in. `resume_from` is a checkpoint's path."""

    job_id: str
    attempt: int
    job: JobDir
    dataset_path: str
    resume_from: str | None
    config: dict[str, Any]

    @property
    def training(self) -> dict[str, Any]:
        """How the model is trained."""
        return self.config["training"]  # type: ignore[no-any-return]

    @property
    def model(self) -> dict[str, Any]:
        """Which model is trained."""
        return self.config["model"]  # type: ignore[no-any-return]


def read_run_config(run_dir: str) -> RunConfig:
    """Read the orders of a run folder. Raises `OSError`, and `ValueError` for what is not a recipe's config."""
    with open(RunDir(run_dir).config, encoding="utf-8") as file:
        data = json.load(file)
    try:
        return RunConfig(
            job_id=data["job_id"],
            attempt=data["attempt"],
            job=JobDir(data["job_dir"]),
            dataset_path=data["dataset_path"],
            resume_from=data["resume_from"],
            config=data["config"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{RunDir(run_dir).config} lacks {error}; it must come from the recipe 'finetune'") from error
