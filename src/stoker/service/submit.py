"""Submit: take a request in durably. Once this returns, the job is never lost."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from stoker.domain.actor import Actor, Scope
from stoker.domain.errors import InvalidRequest, Problem, StorageFull
from stoker.domain.ids import new_job_id
from stoker.domain.job import Job
from stoker.domain.spec import JobSpec
from stoker.rundir.durable import write_durably
from stoker.rundir.layout import JobDir
from stoker.rundir.secrets import keep_secrets
from stoker.service.context import Context, require
from stoker.service.paths import check_path
from stoker.service.request import SubmitRequest, check, to_spec
from stoker.service.turns import in_turn
from stoker.store.port import NewJob


@dataclass(frozen=True, kw_only=True, slots=True)
class Submitted:
    """The job, and whether this request made it (else an equal one had)."""

    job: Job
    created: bool


def submit(context: Context, actor: Actor, request: SubmitRequest, idempotency_key: str | None = None) -> Submitted:
    """Validate a request, keep its data and secrets, and queue it.

    Raises `InvalidRequest` with every fault, `IdTaken`, `IdempotencyMismatch`, `StorageFull`.
    """
    check_scope(actor, request)
    check(request)
    new = NewJob(
        id=request.execution_id or new_job_id(),
        owner=actor.owner,
        spec=to_spec(request, dict(context.settings.phase_seconds)),
        body_hash=body_hash(request),
        at=context.now(),
        user_id=request.user_id,
        name=request.name,
        priority=request.priority,
        idempotency_key=idempotency_key,
    )
    job, created = _known(context, request, new) or _create(context, actor, request, new)
    context.wake()
    return Submitted(job=job, created=created)


def check_scope(actor: Actor, request: SubmitRequest) -> None:
    """Raise `Forbidden` unless the actor may submit this: to run any argv is a right of its own."""
    require(actor, Scope.SUBMIT)
    if request.recipe != "finetune" or request.command or request.python or request.prefix:
        require(actor, Scope.COMMAND)


def resolve(context: Context, actor: Actor, request: SubmitRequest, spec: JobSpec) -> JobSpec:
    """Check every path that the request names, then let its recipe check and complete the spec."""
    recipe = context.recipe(spec.recipe)
    named = recipe.paths(to_spec(request, {}))
    found = (check_path(context.settings, actor, field, path) for field, path in named)
    problems: list[Problem] = [problem for problem in found if problem is not None]
    if problems:
        raise InvalidRequest(*problems)
    return recipe.resolve(spec)


def body_hash(request: SubmitRequest) -> str:
    """Identify a request by its content. Of secrets only the names count, so that no digest can betray a value."""
    content = asdict(request) | {"secrets": sorted(request.secrets)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _known(context: Context, request: SubmitRequest, new: NewJob) -> tuple[Job, bool] | None:
    """Give the job that an equal request has made, whatever became of the files that it names."""
    return context.store.submit(new) if request.execution_id and context.store.job(new.id) is not None else None


def _create(context: Context, actor: Actor, request: SubmitRequest, new: NewJob) -> tuple[Job, bool]:
    """Make the job. Files that the request only names are read before its turn: there can be hours of them."""
    is_named = not request.dataset_content
    resolved = resolve(context, actor, request, new.spec) if is_named else None
    with in_turn(new.id), files_of_new(context.job_dir(new.id)) as folder:
        if (known := _known(context, request, new)) is not None:
            return known
        spec = _keep_inputs(folder, request, new)
        job, created = context.store.submit(replace(new, spec=resolved or resolve(context, actor, request, spec)))
        if job.id != new.id:
            _forget(folder.root)
    return job, created


@contextmanager
def files_of_new(folder: JobDir) -> Iterator[JobDir]:
    """Lend the folder of a job that is being made; if that fails, a folder that was not there before is gone again.

    Raises `StorageFull` for what the disk refuses.
    """
    existed = os.path.isdir(folder.root)
    try:
        yield folder
    except BaseException as error:
        if not existed:
            _forget(folder.root)
        if isinstance(error, OSError):
            remedy = "Free disk space, then submit again"
            raise StorageFull(f"The job's data could not be kept: {error.strerror}. {remedy}") from error
        raise


def _keep_inputs(folder: JobDir, request: SubmitRequest, new: NewJob) -> JobSpec:
    """Write what came with the request into the job's folder; durable when this returns."""
    for path in (folder.inputs, folder.checkpoints, folder.outputs):
        os.makedirs(path, mode=0o700, exist_ok=True)
    if request.secrets:
        keep_secrets(folder, request.secrets)
    if not request.dataset_content:
        return new.spec
    path = os.path.join(folder.inputs, f"train_dataset.{new.body_hash[:12]}.jsonl")
    write_durably(path, request.dataset_content.encode())
    return replace(new.spec, dataset_path=path)


def _forget(folder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
