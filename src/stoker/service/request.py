"""What a submit may say, and the checks that hold for every recipe."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from stoker.domain.errors import InvalidRequest, Problem
from stoker.domain.ids import check_job_id
from stoker.domain.limits import LIMIT_NAMES, Limits
from stoker.domain.spec import JobSpec

ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MAX_PRIORITY = 1000
MAX_TEXT = 500
HOUR, DAY = 3600.0, 86_400.0
MAX_SECONDS = {"grace_seconds": HOUR, "checkpoint_seconds": DAY}
"""The longest that a job may keep a stop waiting."""

MAX_LIMIT_SECONDS = 3650 * DAY
"""The longest of every other limit: ten years."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LimitsRequest:
    """The limits of a job in seconds; what is left out has the server's defaults."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    stall_seconds: float | None = None
    start_seconds: float | None = None
    time_limit_seconds: float | None = None
    checkpoint_seconds: float | None = None
    grace_seconds: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmitRequest:
    """A request for training. The first six fields are the original's, with `execution_id` as the job's id."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    config: dict[str, Any] = field(default_factory=dict)
    execution_id: str | None = None
    user_id: str | None = None
    name: str | None = None
    dataset_path: str | None = None
    dataset_content: str | None = None
    recipe: str = "finetune"
    command: list[str] = field(default_factory=list)
    cwd: str | None = None
    python: str | None = None
    prefix: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    gpus: int = 0
    priority: int = 0
    artifacts: list[str] = field(default_factory=list)
    limits: LimitsRequest = field(default_factory=LimitsRequest)


def check(request: SubmitRequest) -> None:
    """Raise `InvalidRequest` with every fault that can be told without looking at files."""
    problems = [*_check_texts(request), *_check_variables(request), *_check_numbers(request)]
    if request.execution_id:
        try:
            check_job_id(request.execution_id)
        except InvalidRequest as error:
            problems += error.problems
    if problems:
        raise InvalidRequest(*problems)


def to_spec(request: SubmitRequest, phase_seconds: dict[str, float]) -> JobSpec:
    """Give the spec that a checked request asks for; `phase_seconds` are the server's stall limits."""
    given = {name: getattr(request.limits, name) for name in LIMIT_NAMES}
    limits = Limits(phase_seconds=phase_seconds, **{k: v for k, v in given.items() if v is not None})
    return JobSpec(
        recipe=request.recipe,
        config=request.config,
        dataset_path=request.dataset_path or None,
        command=tuple(request.command),
        cwd=request.cwd,
        python=request.python,
        prefix=tuple(request.prefix),
        env=dict(request.env),
        secrets=tuple(sorted(request.secrets)),
        gpus=request.gpus,
        artifacts=tuple(request.artifacts),
        limits=limits,
    )


def _check_texts(request: SubmitRequest) -> Iterator[Problem]:
    for name in ("name", "user_id"):
        text = getattr(request, name)
        if text is not None and (len(text) > MAX_TEXT or not text.isprintable()):
            yield Problem(
                field=name,
                message="is too long or holds control characters",
                remedy=f"Use at most {MAX_TEXT} printable characters",
            )
    for name in ("command", "prefix", "artifacts"):
        if any("\0" in part for part in getattr(request, name)):
            yield Problem(field=name, message="holds a NUL character", remedy="Leave it out; no program takes one")
    for pattern in request.artifacts:
        if pattern.startswith("/") or ".." in pattern.split("/") or not pattern:
            yield Problem(
                field="artifacts",
                message=f"'{pattern}' does not name a file of the working directory",
                remedy="Use patterns relative to it, without '..'",
            )
    if request.dataset_path and request.dataset_content:
        yield Problem(
            field="dataset_content",
            message="came together with dataset_path",
            remedy="Give one of the two",
        )


def _check_variables(request: SubmitRequest) -> Iterator[Problem]:
    for group in ("env", "secrets"):
        for name, value in getattr(request, group).items():
            if not ENV_NAME.fullmatch(name) or "\0" in value:
                yield Problem(
                    field=f"{group}.{name}",
                    message="is no environment variable",
                    remedy="Use letters, digits and '_' in its name, and no NUL in its value",
                )
            elif name.startswith("STOKER_"):
                yield Problem(
                    field=f"{group}.{name}",
                    message="names that begin with STOKER_ are the server's own",
                    remedy="Choose another name",
                )
    for name in sorted(set(request.env) & set(request.secrets)):
        yield Problem(field=f"secrets.{name}", message="is also given in env", remedy="Give it in one of the two")


def _check_numbers(request: SubmitRequest) -> Iterator[Problem]:
    if abs(request.priority) > MAX_PRIORITY:
        yield Problem(
            field="priority",
            message=f"{request.priority} is out of range",
            remedy=f"Use a number from -{MAX_PRIORITY} to {MAX_PRIORITY}; higher starts first",
        )
    if request.gpus:
        yield Problem(
            field="gpus",
            message=f"{request.gpus} GPUs were asked for and this server manages none",
            remedy="Use 0; a command may still name devices itself through env",
        )
    for name in LIMIT_NAMES:
        seconds = getattr(request.limits, name)
        zero_allowed = name in ("checkpoint_seconds", "grace_seconds")
        most = MAX_SECONDS.get(name, MAX_LIMIT_SECONDS)
        if seconds is None or 0 < seconds <= most or (zero_allowed and seconds == 0):
            continue
        if math.isfinite(seconds) and seconds > most:
            remedy = f"Use at most {most:.0f} seconds"
            yield Problem(field=f"limits.{name}", message=f"{seconds} is too long", remedy=remedy)
            continue
        yield Problem(
            field=f"limits.{name}",
            message=f"{seconds} is no time span",
            remedy="Use seconds above 0, or leave it out for the default",
        )
