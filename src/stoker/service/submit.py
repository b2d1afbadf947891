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
from stoker.domain.errors import Forbidden, InvalidRequest, Problem, StorageFull
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

MAX_SHOWN_NAME = 60
HARMLESS_VARIABLES = frozenset(
    {
        "HF_HUB_OFFLINE", "HF_TOKEN", "MKL_NUM_THREADS", "NCCL_DEBUG", "OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM",
        "WANDB_API_KEY", "WANDB_ENTITY", "WANDB_GROUP", "WANDB_MODE", "WANDB_NAME", "WANDB_NOTES", "WANDB_PROJECT",
        "WANDB_RUN_ID", "WANDB_TAGS",
    }
)  # fmt: skip
"""Variables that anybody may give to a job. Most others can be made to run a program: PATH, PYTHONPATH, LD_PRELOAD."""


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
    job, created = _known(context, new) or _create(context, actor, request, new)
    context.wake()
    return Submitted(job=job, created=created)


def check_scope(actor: Actor, asked: SubmitRequest | JobSpec) -> None:
    """Raise `Forbidden` unless the actor may submit this: to run any argv is a right of its own."""
    require(actor, Scope.SUBMIT)
    if asked.recipe != "finetune" or asked.command or asked.python or asked.prefix:
        require(actor, Scope.COMMAND)
    foreign = sorted({*asked.env, *asked.secrets} - HARMLESS_VARIABLES)
    if foreign and not actor.may(Scope.COMMAND):
        raise Forbidden(
            f"To give a job the variable {foreign[0][:MAX_SHOWN_NAME]!r} needs the scope '{Scope.COMMAND}', "
            f"which this key lacks. Without it a job may be given {', '.join(sorted(HARMLESS_VARIABLES))}"
        )


def resolve(context: Context, actor: Actor, request: SubmitRequest, spec: JobSpec) -> JobSpec:
    """Check every path that the request names, then let its recipe check and complete the spec."""
    check_paths(context, actor, to_spec(request, {}))
    return context.recipe(spec.recipe).resolve(spec)


def check_paths(context: Context, actor: Actor, spec: JobSpec) -> None:
    """Raise `InvalidRequest` with every path of a spec that the actor may not name, or that can't be read."""
    named = context.recipe(spec.recipe).paths(spec)
    found = (check_path(context.settings, actor, field, path) for field, path in named)
    problems: list[Problem] = [problem for problem in found if problem is not None]
    if problems:
        raise InvalidRequest(*problems)


def body_hash(request: SubmitRequest) -> str:
    """Identify a request by its content. Of secrets only the names count, so that no digest can betray a value."""
    content = asdict(request) | {"secrets": sorted(request.secrets)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _known(context: Context, new: NewJob) -> tuple[Job, bool] | None:
    """Give the job that an equal request has made, whatever became of the files that it names."""
    return context.store.submit(new) if context.store.is_known(new) else None


def _create(context: Context, actor: Actor, request: SubmitRequest, new: NewJob) -> tuple[Job, bool]:
    """Make the job. Files that the request only names are read before its turn: there can be hours of them."""
    is_named = not request.dataset_content
    resolved = resolve(context, actor, request, new.spec) if is_named else None
    with in_turn(new.id), files_of_new(context.job_dir(new.id)) as folder:
        if (known := _known(context, new)) is not None:
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
    path = dataset_place(folder, new.body_hash)
    write_durably(path, request.dataset_content.encode())
    return replace(new.spec, dataset_path=path)


def dataset_place(folder: JobDir, request_hash: str) -> str:
    """Give where the rows lie that came with a request."""
    return os.path.join(folder.inputs, f"train_dataset.{request_hash[:12]}.jsonl")


def _forget(folder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
