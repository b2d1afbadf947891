"""The trained model appears whole: it is written beside its place, made durable, and then renamed into it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from stoker.rundir.durable import fsync_dir
from stoker.rundir.layout import JobDir

MODEL = "model"


def model_folder(job: JobDir) -> str:
    """Give the place of a job's trained model or adapter, with its tokenizer."""
    return os.path.join(job.outputs, MODEL)


def publish(job: JobDir, write: Callable[[str], None]) -> str:
    """Let `write` fill a folder and put that into the model's place in one step; give the place. Raises `OSError`.

    One that an earlier attempt left there is replaced.
    """
    os.makedirs(job.outputs, mode=0o700, exist_ok=True)
    place = model_folder(job)
    new, old = f"{place}.new", f"{place}.old"
    for leaving in (new, old):
        shutil.rmtree(leaving, ignore_errors=True)
    os.mkdir(new, 0o700)
    write(new)
    _sync_tree(new)
    if os.path.lexists(place):
        os.rename(place, old)
    os.rename(new, place)
    fsync_dir(job.outputs)
    shutil.rmtree(old, ignore_errors=True)
    return place


def _sync_tree(folder: str) -> None:
    for place, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(os.path.join(place, name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        fsync_dir(place)
