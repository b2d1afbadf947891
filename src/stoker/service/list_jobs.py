"""List: jobs in pages, newest first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stoker.domain.actor import Actor, Scope
from stoker.domain.errors import invalid
from stoker.service.context import Context, require
from stoker.service.view import summary
from stoker.store.port import JobQuery

MAX_PAGE = 1000


def list_jobs(context: Context, actor: Actor, query: JobQuery) -> dict[str, Any]:
    """Give one page of the jobs that the actor may see and the key of the next. Raises `InvalidRequest`."""
    require(actor, Scope.READ)
    if not 1 <= query.limit <= MAX_PAGE:
        raise invalid("limit", f"{query.limit} is out of range", f"Use a number from 1 to {MAX_PAGE}")
    if not actor.may(Scope.ADMIN):
        query = replace(query, owner=actor.owner)
    page = context.store.jobs(query)
    return {"jobs": [summary(job, attempt) for job, attempt in page.jobs], "next": page.next}
