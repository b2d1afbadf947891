"""The secret values of a job: a file of mode 0600 beside it that goes when the job ends."""

from __future__ import annotations

import contextlib
import json
import os

from stoker.rundir.durable import write_durably
from stoker.rundir.layout import JobDir


def keep_secrets(folder: JobDir, values: dict[str, str]) -> None:
    """Write a job's secret values; durable when this returns."""
    write_durably(folder.secrets, json.dumps(values).encode(), mode=0o600)


def forget_secrets(folder: JobDir) -> None:
    """Remove a job's secret values; quiet if there are none."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(folder.secrets)
