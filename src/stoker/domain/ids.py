"""Names of things: job ids as users may choose them, attempt ids as we make them."""

from __future__ import annotations

import re
import secrets
import uuid

from stoker.domain.errors import invalid

ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")

ROUTE_WORDS = frozenset(
    {
        "analytics", "cancel", "checkpoints", "compare", "datasets", "download", "errors", "events", "execute",
        "force-start", "gpus", "jobs", "keys", "logs", "metrics", "pause", "priority", "queue", "recipes",
        "reconnect", "resume", "retry", "status", "stream", "summary", "update-params", "validate", "validate-spec",
    }
)  # fmt: skip
"""Words that stand where an id could stand in a path; no job may be called so."""


def new_job_id() -> str:
    """Make an id for a job that came without one."""
    return f"job-{secrets.token_hex(8)}"


def new_attempt_id() -> str:
    """Make the UUID of an attempt; it is also the mark that its processes carry."""
    return str(uuid.uuid4())


def check_job_id(value: str, field: str = "execution_id") -> str:
    """Return `value` if it may be a job's id, else raise `InvalidRequest`."""
    if not ID_PATTERN.fullmatch(value):
        raise invalid(
            field,
            "is not a valid job id",
            "Use 1 to 128 letters, digits, '_', '.' or '-', and begin with a letter or a digit",
        )
    if value in ROUTE_WORDS:
        raise invalid(field, f"'{value}' is a word of the API", "Choose another id")
    return value
