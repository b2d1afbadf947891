"""How far the work is: phases, the signal that is watched, and the latest figures of a job."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """What the trainer is doing. Each phase has a limit of its own (`limits.PHASE_SECONDS`)."""

    LOADING = "loading"
    PREPARING = "preparing"
    COMPILING = "compiling"
    TRAINING = "training"
    EVALUATING = "evaluating"
    SAVING = "saving"


class WatchedBy(StrEnum):
    """Which signal tells that the work moves, best first."""

    CALLBACK = "callback"
    """Our callback, or anything else that appends to metrics.jsonl in the run folder."""

    KUBEFLOW = "kubeflow"
    """The Kubeflow progress protocol."""

    PROGRESS_FILE = "progress.json"
    """A progress.json in the run folder or the working directory."""

    LOG = "log"
    """Log output: inferred, so it only warns unless a stall limit was set by hand."""

    EXIT = "exit"
    """Nothing but the exit and the time limit."""


TRUSTED = frozenset({WatchedBy.CALLBACK, WatchedBy.KUBEFLOW, WatchedBy.PROGRESS_FILE})
"""Signals that may end a job without an explicit stall limit."""

_RANK = {watch: rank for rank, watch in enumerate(WatchedBy)}


def better(new: WatchedBy, old: WatchedBy) -> bool:
    """Tell whether `new` is a better signal than `old`."""
    return _RANK[new] < _RANK[old]
