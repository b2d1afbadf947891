"""From the end of an attempt to what its job becomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stoker.domain.failure import Reason
from stoker.domain.job import Attempt, Job
from stoker.domain.outcome import Conclusion, End, TrainerOutcome, conclude
from stoker.domain.policy import INFRASTRUCTURE_RETRIES, retry_after
from stoker.domain.states import JobState
from stoker.domain.stop import StopKind
from stoker.rundir.checkpoints import newest_complete, step_of
from stoker.rundir.layout import JobDir
from stoker.rundir.records import ExitRecord, Survivor
from stoker.store.port import Ending

NO_GPU_RECEIPT: dict[str, Any] = {"state": "no_gpu", "before": None, "after": None, "holders": [], "milliseconds": 0}
MAX_ERROR_CHARACTERS = 4000


def ending_of(job: Job, attempt: Attempt, record: ExitRecord, folder: JobDir, missing: Sequence[str] = ()) -> Ending:
    """Say what the job becomes by an exit record; `missing` are declared artifacts that are not there."""
    conclusion = _as_wished(job, _with_artifacts(conclude(_end(record)), missing))
    is_done = conclusion.state is JobState.COMPLETED
    checkpoint = None if is_done else _goes_on_from(job, folder, began=record.reported)
    return Ending(
        state=conclusion.state,
        at=record.at,
        ran=record.reported or record.executed or record.exit_code == 0,
        reason=conclusion.reason,
        error=conclusion.error[:MAX_ERROR_CHARACTERS] if conclusion.error else None,
        exit_code=record.exit_code,
        signal=record.signal,
        unclean=bool(record.survivors),
        resume_from=checkpoint,
        details=_details(record, attempt, checkpoint),
        receipt=NO_GPU_RECEIPT,
    )


def loss_of(job: Job, survivors: tuple[Survivor, ...], folder: JobDir, now: float, jitter: float) -> Ending:
    """Say what the job becomes when its attempt is lost: stopped as asked, tried again, or failed."""
    checkpoint = _goes_on_from(job, folder, began=job.state is JobState.RUNNING)
    details = {"survivors": [survivor_text(one) for one in survivors], "checkpoint": checkpoint}
    common: dict[str, Any] = {
        "at": now,
        "ran": job.state is JobState.RUNNING,
        "lost": True,
        "unclean": bool(survivors),
        "resume_from": checkpoint,
        "details": details,
        "receipt": NO_GPU_RECEIPT,
    }
    if job.stop is not None and job.stop.kind is StopKind.CANCELLED:
        return Ending(state=JobState.CANCELLED, **common)
    if job.stop is not None and job.stop.kind is StopKind.PAUSED:
        return Ending(state=JobState.PAUSED, **common)
    wait = retry_after(job.lost_attempts + 1, jitter)
    if wait is not None and not survivors:
        return Ending(state=JobState.QUEUED, not_before=now + wait, **common)
    return Ending(state=JobState.FAILED, reason=Reason.LOST, error=_loss_text(job, survivors), **common)


def _loss_text(job: Job, survivors: tuple[Survivor, ...]) -> str:
    lost = f"Attempt {job.attempt} was lost: its supervisor or its machine died"
    if survivors:
        named = ", ".join(survivor_text(one) for one in survivors)
        return f"{lost}, and no new one was made beside what would not die: {named}"
    return f"{lost}. {INFRASTRUCTURE_RETRIES} new attempts were allowed and {job.lost_attempts} were made"


def never_started(job: Job, now: float, wait: float) -> Ending:
    """Say what the job becomes when its attempt never started: as asked, or queued again free of charge."""
    common: dict[str, Any] = {"at": now, "ran": False, "receipt": NO_GPU_RECEIPT, "resume_from": job.resume_from}
    if job.stop is not None and job.stop.kind is StopKind.CANCELLED:
        return Ending(state=JobState.CANCELLED, **common)
    if job.stop is not None and job.stop.kind is StopKind.PAUSED:
        return Ending(state=JobState.PAUSED, **common)
    return Ending(state=JobState.QUEUED, not_before=now + wait if wait else None, **common)


def launch_failed(error: str, now: float) -> Ending:
    """Say what the job becomes when there was nothing that could be executed."""
    return Ending(
        state=JobState.FAILED,
        at=now,
        ran=False,
        reason=Reason.LAUNCH_FAILED,
        error=error[:MAX_ERROR_CHARACTERS],
        receipt=NO_GPU_RECEIPT,
    )


def survivor_text(one: Survivor) -> str:
    """Name a process that would not die."""
    return f"pid {one.pid} ({one.name}, state {one.state})"


def _end(record: ExitRecord) -> End:
    said = record.outcome
    return End(
        exit_code=record.exit_code,
        signal=record.signal,
        stop=_known(StopKind, record.stop),
        stop_sent=record.stop_sent,
        stop_limit=record.stop_limit,
        launch_error=record.launch_error,
        out_of_memory=record.out_of_memory,
        trainer_outcome=_known(TrainerOutcome, said.get("outcome")),
        trainer_reason=_known(Reason, said.get("reason")),
        trainer_error=_writable(str(said["error"])) if said.get("error") else None,
    )


def _writable(text: str) -> str:
    """Give a text of a trainer without what no database or answer can hold: half characters and NUL."""
    return text.replace("\0", "?").encode("utf-8", "replace").decode()


def _known(kind: Any, value: object) -> Any:
    """Give the member of an enum that a record names, None for anything else: records may be newer than we are."""
    return kind(value) if isinstance(value, str) and value in set(kind) else None


def missing_artifacts(root: str, patterns: Sequence[str], is_late: Callable[[], bool]) -> list[str]:
    """List the patterns that nothing under `root` matches. Links to folders are not followed below a `**`.

    What was not found when `is_late` says so counts as missing.
    """
    return [pattern for pattern in patterns if is_late() or not _is_there(Path(root), pattern)]


def _is_there(root: Path, pattern: str) -> bool:
    try:
        return next(root.glob(pattern), None) is not None
    except (OSError, ValueError, IndexError, NotImplementedError):
        return False


def _with_artifacts(conclusion: Conclusion, missing: Sequence[str]) -> Conclusion:
    """Hold a completed job to the artifacts that its spec declares."""
    if conclusion.state is not JobState.COMPLETED or not missing:
        return conclusion
    error = f"The training process exited with code 0 but left nothing that matches {', '.join(missing)}"
    return Conclusion(state=JobState.FAILED, reason=Reason.EXITED, error=error)


def _as_wished(job: Job, conclusion: Conclusion) -> Conclusion:
    """Let a user's stop decide over an attempt that would be followed by another: nobody wants that one any more."""
    if conclusion.state is not JobState.QUEUED or job.stop is None:
        return conclusion
    match job.stop.kind:
        case StopKind.CANCELLED:
            return Conclusion(state=JobState.CANCELLED)
        case StopKind.PAUSED:
            return Conclusion(state=JobState.PAUSED)
        case StopKind.STALLED | StopKind.TIMED_OUT | StopKind.START_TIMEOUT | StopKind.SHUTDOWN:
            return conclusion


def _steps_lost(attempt: Attempt, checkpoint: str | None) -> int | None:
    """Count the steps that were taken after the checkpoint; None where one of the two is not known."""
    reached, saved = attempt.progress.get("current_step"), step_of(checkpoint)
    return max(0, reached - saved) if isinstance(reached, int) and saved is not None else None


def _goes_on_from(job: Job, folder: JobDir, *, began: bool) -> str | None:
    """Name the checkpoint to go on from. A trainer that never reported left the choice of its attempt as it was."""
    return newest_complete(folder.checkpoints) if began or job.resume_from is None else job.resume_from


def _details(record: ExitRecord, attempt: Attempt, checkpoint: str | None) -> dict[str, Any]:
    return {
        "stop": record.stop,
        "stop_sent": record.stop_sent,
        "stop_step": record.stop_step,
        "phase": record.phase,
        "reap_milliseconds": record.milliseconds,
        "survivors": [survivor_text(one) for one in record.survivors],
        "log_bytes": record.log_bytes,
        "checkpoint": checkpoint,
        "steps_lost": _steps_lost(attempt, checkpoint),
    }
