"""Validate-spec: a dry run. It gives the resolved spec and the plan, and queues nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import asdict, replace
from typing import Any

from stoker.domain.actor import Actor
from stoker.domain.ids import new_attempt_id, new_job_id
from stoker.recipes.port import LaunchRequest
from stoker.service.context import Context
from stoker.service.request import SubmitRequest, check, to_spec
from stoker.service.submit import check_scope, resolve


def validate_spec(context: Context, actor: Actor, request: SubmitRequest) -> dict[str, Any]:
    """Check a request as a submit would, and show what would be executed. Raises as `submit` does."""
    check_scope(actor, request)
    check(request)
    folder = tempfile.mkdtemp(prefix="stoker-validate-")
    try:
        spec = to_spec(request, dict(context.settings.phase_seconds))
        if request.dataset_content:
            path = os.path.join(folder, "train_dataset.jsonl")
            with open(path, "w") as file:
                file.write(request.dataset_content)
            spec = replace(spec, dataset_path=path)
        resolved = resolve(context, actor, request, spec)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    job_id = request.execution_id or new_job_id()
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
