"""What the server asks of a recipe: validate a spec, and turn it into something to execute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from stoker.domain.spec import JobSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchRequest:
    """One attempt to be launched: the resolved spec, where the job's things lie, and where it goes on from.

    `resume_from` is the path of a verified checkpoint; None starts from the beginning. `environment` is the
    server's own, from which a recipe lets through what its allow-list names.
    """

    job_id: str
    spec: JobSpec
    attempt: int
    job_dir: str
    run_dir: str
    resume_from: str | None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """What to execute. `files` go into the run folder (name to content) before the start.

    `reports` says that the job counts as running from the trainer's first report, not from its exec; `can_save`
    that it answers a stop request with a checkpoint. `progress_files` may appear and are then watched.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    reports: bool = False
    can_save: bool = False
    progress_files: tuple[str, ...] = ()


class Recipe(Protocol):
    """A kind of job. Stateless; both calls are pure but for looking at the files that the spec names."""

    name: str

    def resolve(self, spec: JobSpec) -> JobSpec:
        """Check a spec and fill in its defaults. Raises `InvalidRequest` with every problem, not only the first."""

    def paths(self, spec: JobSpec) -> tuple[tuple[str, str], ...]:
        """Name every path that `resolve` and the job will read (field, path), so that the right to it comes first."""

    def launch(self, request: LaunchRequest) -> Launch:
        """Turn one attempt into argv, environment and files. No secret value is in any of them."""

    def schema(self) -> dict[str, Any]:
        """Give the JSON Schema of the recipe's `config`."""
