"""Where a training goes on from: a checkpoint that verifies, with the line beyond it set aside. Standard library."""

from __future__ import annotations

import os

from stoker.rundir import checkpoints
from stoker.trainer.diagnose import Failure
from stoker.trainer.run_config import RunConfig

RESUMED_FILES = ("trainer_state.json", "optimizer.pt", "scheduler.pt", "rng_state.pth")
"""What a checkpoint must hold beside the weights: without it a resume would go on silently, and differ."""


def begin_line(run: RunConfig, resume_from: str | None) -> None:
    """Set the job's checkpoints of later steps aside, so that its newest is always of the line that begins here.

    They are kept until the new line has one, since until then they are all that there is of later work.
    """
    step = 0 if resume_from is None else checkpoints.step_of(resume_from)
    if step is not None and os.path.isdir(run.job.checkpoints):
        for path in checkpoints.set_aside(run.job.checkpoints, step, run.attempt):
            _say(f"Set aside {os.path.basename(path)}: this training goes on from step {step}")


def resume_point(run: RunConfig) -> str | None:
    """Give a checkpoint whose every byte verifies, None for a start from the beginning.

    One of the job's own was chosen by the server, or verified by it when the user named it: if it is damaged now, the
    newest sound one before it serves, never one beyond it. One from elsewhere was named in the spec; there is none
    that could stand in for it. Raises `Failure`.
    """
    named = run.resume_from
    fault = None if named is None else _fault(named)
    if named is None or fault is None:
        return named
    if not _is_own(run, named):
        raise Failure(f"Training can't be resumed. {fault}. Resume from another checkpoint, or start anew")
    found = _newest_sound(run.job.checkpoints, checkpoints.step_of(named))
    instead = f"goes on from {found} instead" if found else "starts anew: the job has no earlier one that is whole"
    _say(f"{fault}. Training {instead}")
    return found


def _newest_sound(directory: str, step: int | None) -> str | None:
    found = (one for one in reversed(checkpoints.listing(directory)) if step is None or one.step <= step)
    return next((one.path for one in found if _fault(one.path) is None), None)


def _fault(path: str) -> str | None:
    fault, found = checkpoints.verify(path), checkpoints.read(path)
    if fault is not None or found is None:
        return fault
    missing = [name for name in RESUMED_FILES if name not in found.files]
    return f"The checkpoint {path} lacks {', '.join(missing)}" if missing else None


def _is_own(run: RunConfig, path: str) -> bool:
    return os.path.dirname(os.path.realpath(path)) == os.path.realpath(run.job.checkpoints)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - for the job's log
