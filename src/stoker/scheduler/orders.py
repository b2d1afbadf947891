"""From a job to the order that its supervisor carries out."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from stoker.domain.job import Attempt, Job
from stoker.recipes.port import Launch, LaunchRequest
from stoker.rundir.layout import JobDir
from stoker.rundir.records import Order
from stoker.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Who gives orders: the home and the term of its server."""

    home_id: str
    owner: str
    epoch: int


def launch_request(job: Job, attempt: Attempt, settings: Settings) -> LaunchRequest:
    """Ask a recipe for what to execute."""
    return LaunchRequest(
        job_id=job.id,
        spec=job.spec,
        attempt=attempt.number,
        job_dir=str(settings.jobs_root / job.id),
        run_dir=str(settings.attempts_root / attempt.id / "run"),
        resume_from=attempt.overrides.get("resume_from"),
        environment=os.environ,
    )


def make_order(job: Job, attempt: Attempt, launch: Launch, settings: Settings, identity: Identity) -> Order:
    """Write down everything that the supervisor must know to live without the server."""
    secrets = JobDir(str(settings.jobs_root / job.id)).secrets
    return Order(
        attempt_id=attempt.id,
        job_id=job.id,
        number=attempt.number,
        nonce=attempt.id,
        home_id=identity.home_id,
        epoch=identity.epoch,
        argv=tuple(launch.argv),
        env=dict(launch.env),
        secrets_file=secrets if job.spec.secrets else None,
        cwd=launch.cwd,
        gpus=attempt.gpus,
        limits=job.spec.limits,
        reports=launch.reports,
        can_save=launch.can_save,
        progress_files=launch.progress_files,
        containment=settings.containment,
        log_bytes=settings.log_bytes,
        py_spy=shutil.which("py-spy"),
    )
