"""Every verb of the server, written once: which call it is. The transports carry the calls out."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

from stoker.client.calls import API, Answer, Call, job_path
from stoker.client.feed import TERMINAL_WORDS

R = TypeVar("R")


class Verbs(ABC, Generic[R]):
    """What may be asked of a server. `R` is the answer, a JSON object: as it is, or to be awaited.

    Every verb raises `ServerUnreachable`, and the `ServerError` that the server refused it with.
    """

    @abstractmethod
    def _carry_out(self, call: Call) -> R:
        """Send a call and give its answer."""

    def submit(self, request: Mapping[str, Any], *, idempotency_key: str | None = None) -> R:
        """Queue a job. `request` has the fields of `POST execute`; the answer has `job_id`, `status`, `message`.

        However often the connection breaks, one job is made: the request carries a key, a new one unless given.
        """
        headers = {"Idempotency-Key": idempotency_key or secrets.token_urlsafe(24)}
        return self._carry_out(Call(method="POST", path=f"{API}/execute", body=request, headers=headers, is_slow=True))

    def validate_spec(self, request: Mapping[str, Any]) -> R:
        """Check a request as `submit` would; the answer has the resolved `spec` and the `plan`. Queues nothing."""
        return self._carry_out(Call(method="POST", path=f"{API}/validate-spec", body=request, is_slow=True))

    def status(self, job_id: str) -> R:
        """Give a job with its progress, its liveness and, while it waits, its place and why."""
        return self._carry_out(Call(method="GET", path=job_path("status", job_id)))

    def jobs(
        self,
        *,
        states: Iterable[str] = (),
        recipe: str | None = None,
        user_id: str | None = None,
        text: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> R:
        """Give one page of jobs, newest first; `next` in the answer is the `after` of the next page."""
        query = {
            "status": tuple(states), "recipe": recipe, "user_id": user_id, "text": text, "limit": limit, "after": after,
        }  # fmt: skip
        return self._carry_out(Call(method="GET", path=f"{API}/jobs", query=query))

    def metrics(self, job_id: str, *, since: str | None = None, limit: int = 10_000) -> R:
        """Give the points after `since`, which is the `next` of an earlier answer."""
        query = {"since": since, "limit": limit}
        return self._carry_out(Call(method="GET", path=job_path("metrics", job_id), query=query))

    def logs(self, job_id: str, *, limit: int = 100, offset: int = 0, attempt: int | None = None) -> R:
        """Give lines of the log from line `offset` on; a negative one counts from the end."""
        query = {"limit": limit, "offset": offset, "attempt": attempt}
        return self._carry_out(Call(method="GET", path=job_path("logs", job_id), query=query))

    def events(self, job_id: str, *, after: int = -1, limit: int = 1000) -> R:
        """Give the history of a job: its events with a version above `after`."""
        query = {"after": after, "limit": limit}
        return self._carry_out(Call(method="GET", path=job_path(job_id, "events"), query=query))

    def errors(self, job_id: str) -> R:
        """Give what went wrong with a job, from its end and its log."""
        return self._carry_out(Call(method="GET", path=job_path(job_id, "errors")))

    def checkpoints(self, job_id: str) -> R:
        """List the complete checkpoints of a job."""
        return self._carry_out(Call(method="GET", path=job_path("checkpoints", job_id)))

    def queue(self) -> R:
        """Give what runs and what waits, in which order and why."""
        return self._carry_out(Call(method="GET", path=f"{API}/queue"))

    def cancel(self, job_id: str) -> R:
        """Ask for the end of a job. Harmless when repeated."""
        return self._carry_out(Call(method="POST", path=job_path("cancel", job_id)))

    def pause(self, job_id: str) -> R:
        """Ask a job to save its work and stop, so that it can be resumed."""
        return self._carry_out(Call(method="POST", path=job_path("pause", job_id)))

    def resume(self, job_id: str, *, checkpoint_path: str | None = None) -> R:
        """Queue a paused job again, from its newest checkpoint that verifies unless another of its own is named."""
        query = {"checkpoint_path": checkpoint_path}
        path = job_path("resume", job_id)
        return self._carry_out(Call(method="POST", path=path, query=query, repeatable=False, is_slow=True))

    def force_start(self, job_id: str) -> R:
        """Move a queued job to the head, or make a new job of one that ended."""
        return self._carry_out(Call(method="POST", path=job_path(job_id, "force-start"), repeatable=False))

    def priority(self, job_id: str, value: int) -> R:
        """Change the priority of a job that has not ended; higher starts first."""
        return self._carry_out(Call(method="POST", path=job_path(job_id, "priority"), body={"priority": value}))

    def delete(self, job_id: str) -> R:
        """Delete a job that ended, with its files. Its id stays taken."""
        return self._carry_out(Call(method="DELETE", path=job_path(job_id), repeatable=False))

    def reconnect(self) -> R:
        """Compare the store with what really runs, now; the answer says what was found."""
        return self._carry_out(Call(method="POST", path=f"{API}/reconnect"))

    def health(self) -> R:
        """Say how the server is."""
        return self._carry_out(Call(method="GET", path="/health"))

    def create_key(self, request: Mapping[str, Any]) -> R:
        """Make an API key: `owner`, and if need be `name`, `scopes`, `days`. Its text is in this answer only."""
        return self._carry_out(Call(method="POST", path=f"{API}/keys", body=request, repeatable=False))

    def keys(self) -> R:
        """List the caller's keys without their secrets; all keys for an admin."""
        return self._carry_out(Call(method="GET", path=f"{API}/keys"))

    def revoke_key(self, prefix: str) -> R:
        """Revoke a key for ever."""
        return self._carry_out(Call(method="DELETE", path=job_path("keys", prefix), repeatable=False))


def stream_call(job_ids: Iterable[str], kinds: Iterable[str], last_id: str | None) -> Call:
    """Give the call that opens the feed: of these jobs, or of all that the caller may see."""
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache", "Connection": "close"}
    if last_id is not None:
        headers["Last-Event-ID"] = last_id
    query = {"jobs": ",".join(job_ids) or None, "kinds": ",".join(kinds) or None}
    return Call(method="GET", path=f"{API}/stream", query=query, headers=headers)


def has_ended(status: Answer) -> bool:
    """Tell whether a job, as `status` gives it, has ended."""
    return status["status"] in TERMINAL_WORDS


def took_too_long(job_id: str, timeout: float | None) -> TimeoutError:
    """Say that a wait was given up, and that only the wait was."""
    return TimeoutError(f"Job {job_id} has not ended within {timeout} seconds; it goes on")
