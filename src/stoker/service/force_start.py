"""Force-start: to the head of the queue, or a new job like one that has ended."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import Any

from stoker.domain.actor import Actor, Scope
from stoker.domain.errors import IllegalMove, SecretsGone
from stoker.domain.ids import new_job_id
from stoker.domain.job import Job
from stoker.domain.spec import JobSpec
from stoker.domain.states import JobState
from stoker.rundir.durable import fsync_dir, settle
from stoker.service.context import Context, require, visible
from stoker.service.submit import check_paths, check_scope, files_of_new
from stoker.store.port import NewJob


def force_start(context: Context, actor: Actor, job_id: str) -> dict[str, Any]:
    """Move a queued job to the head; make a new job, of the same owner, of one that ended.

    To run a job again needs what its submit needs. Raises `NotFound`, `IllegalMove`, `SecretsGone`, `Forbidden`, and
    `InvalidRequest` for its paths.
    """
    require(actor, Scope.SUBMIT)
    job, _ = visible(context, actor, job_id)
    match job.state:
        case JobState.QUEUED:
            moved = context.store.move_to_head(job_id, context.now())
            message = "The job is at the head of the queue"
        case JobState.FAILED | JobState.CANCELLED | JobState.COMPLETED:
            moved = _again(context, actor, job)
            message = f"A new job {moved.id} was queued; {job_id} stays as it ended"
        case JobState.PENDING | JobState.RUNNING | JobState.PAUSED:
            raise IllegalMove(job_id, job.state.value, "force-start")
    context.wake()
    return {
        "success": True,
        "job_id": moved.id,
        "previous_status": job.state.value,
        "new_status": moved.state.value,
        "queue_position": context.store.queue_position(moved.id),
        "retried_from": moved.retried_from,
        "message": message,
    }


def _again(context: Context, actor: Actor, old: Job) -> Job:
    """Queue a new job with the old one's spec and a copy of its inputs. Secrets went with the old job."""
    inputs = context.job_dir(old.id).inputs
    check_scope(actor, old.spec)
    check_paths(context, actor, replace(old.spec, dataset_path=None) if _is_within(old.spec, inputs) else old.spec)
    if old.spec.secrets:
        raise SecretsGone(old.id, old.state.value)
    new_id = new_job_id()
    with files_of_new(context.job_dir(new_id)) as folder:
        for path in (folder.checkpoints, folder.outputs):
            os.makedirs(path, mode=0o700, exist_ok=True)
        if os.path.isdir(inputs):
            _copy_durably(inputs, folder.inputs)
        new = NewJob(
            id=new_id,
            owner=old.owner,
            spec=_relocated(old.spec, inputs, folder.inputs),
            body_hash=f"again:{old.id}:{new_id}",
            at=context.now(),
            user_id=old.user_id,
            name=old.name,
            priority=old.priority,
            retried_from=old.id,
        )
        job, _ = context.store.submit(new)
    return job


def _copy_durably(source: str, target: str) -> None:
    """Copy a folder, which must not be there yet, with every name up to the jobs' own durable on return."""
    shutil.copytree(source, target)
    found = list(os.walk(target))
    settle(os.path.join(place, name) for place, _, names in found for name in names)
    root = os.path.dirname(target)
    for place in (*(place for place, _, _ in found), root, os.path.dirname(root)):
        fsync_dir(place)


def _relocated(spec: JobSpec, old_inputs: str, new_inputs: str) -> JobSpec:
    """Point a spec whose data came with its submit at the new job's copy of it."""
    if spec.dataset_path is None or not _is_within(spec, old_inputs):
        return spec
    return replace(spec, dataset_path=os.path.join(new_inputs, os.path.basename(spec.dataset_path)))


def _is_within(spec: JobSpec, inputs: str) -> bool:
    """Tell whether the data came with the submit, so that nobody named its path."""
    return spec.dataset_path is not None and os.path.dirname(spec.dataset_path) == inputs
