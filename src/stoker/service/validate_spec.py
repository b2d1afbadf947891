"""Validate-spec: a dry run. It gives the resolved spec and the plan, and queues nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from stoker.domain.actor import Actor
from stoker.domain.errors import StorageFull
from stoker.domain.ids import new_attempt_id, new_job_id
from stoker.recipes.port import LaunchRequest
from stoker.service.context import Context
from stoker.service.request import SubmitRequest, check, to_spec
from stoker.service.submit import body_hash, check_scope, dataset_place, resolve


def validate_spec(context: Context, actor: Actor, request: SubmitRequest) -> dict[str, Any]:
    """Check a request as a submit would, and show what would be executed. Raises as `submit` does."""
    check_scope(actor, request)
    check(request)
    job_id = request.execution_id or new_job_id()
    spec = to_spec(request, dict(context.settings.phase_seconds))
    with _rows_of(request) as path:
        resolved = resolve(context, actor, request, spec if path is None else replace(spec, dataset_path=path))
    if path is not None:
        resolved = replace(resolved, dataset_path=dataset_place(context.job_dir(job_id), body_hash(request)))
    run_dir = str(context.settings.attempts_root / new_attempt_id() / "run")
    launch = context.recipe(resolved.recipe).launch(
        LaunchRequest(
            job_id=job_id,
            spec=resolved,
            attempt=1,
            job_dir=context.job_dir(job_id).root,
            run_dir=run_dir,
            resume_from=None,
            environment=os.environ,
        )
    )
    plan = {"engine": context.engine.name, "argv": list(launch.argv), "cwd": launch.cwd, "env": dict(launch.env)}
    return {"valid": True, "spec": asdict(resolved), "plan": plan}


@contextmanager
def _rows_of(request: SubmitRequest) -> Iterator[str | None]:
    """Lend a file of the rows that came with a request, None if none did. Raises `StorageFull`."""
    if not request.dataset_content:
        yield None
        return
    try:
        file = tempfile.NamedTemporaryFile(prefix="stoker-validate-", suffix=".jsonl")  # noqa: SIM115 - closed below
    except OSError as error:
        raise _no_room(error) from error
    with file:
        try:
            file.write(request.dataset_content.encode())
            file.flush()
        except OSError as error:
            raise _no_room(error) from error
        yield file.name


def _no_room(error: OSError) -> StorageFull:
    remedy = "Free space where temporary files lie, then ask again"
    return StorageFull(f"The rows could not be kept for a look at them: {error.strerror}. {remedy}")
