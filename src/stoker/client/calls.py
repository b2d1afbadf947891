"""A call as it is sent, and an answer as it is understood; nothing here touches a wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from stoker.client.errors import from_answer

Answer = dict[str, Any]
"""What the server answers: a JSON object."""

API = "/api/training"

SLOW_FACTOR = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One request. `repeatable` says that sending it twice does no more than sending it once.

    A slow one has the server read data or checkpoints before it answers.
    """

    method: str
    path: str
    query: Mapping[str, object] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    is_slow: bool = False

    def answer_seconds(self, usual: float) -> float:
        """Give how long the answer may take where one to an ordinary call may take `usual` seconds."""
        return usual * SLOW_FACTOR if self.is_slow else usual

    @property
    def target(self) -> str:
        """The path with its query; what is None is left out, a list is repeated."""
        given = {name: _text(value) for name, value in self.query.items() if value is not None and value != ()}
        return f"{self.path}?{urlencode(given, doseq=True)}" if given else self.path

    @property
    def content(self) -> bytes | None:
        """The body as sent."""
        return None if self.body is None else json.dumps(self.body).encode()

    def all_headers(self, key: str | None) -> dict[str, str]:
        """Give every header: the call's own, the key, and what the body is."""
        headers = {"Accept": "application/json", "User-Agent": "stoker-client", **self.headers}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        if self.body is not None:
            headers["Content-Type"] = "application/json"
        return headers


def job_path(*parts: str) -> str:
    """Give a path under the API; the parts may hold any character."""
    return "/".join((API, *(quote(part, safe="") for part in parts)))


def _text(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return [str(one) for one in value] if isinstance(value, list | tuple) else str(value)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the status, the headers in lower case, the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def understand(reply: Reply) -> Answer:
    """Give the object that was answered. Raises the `ServerError` that a refusal stands for."""
    content = _parse(reply.body)
    if 200 <= reply.status < 300:  # noqa: PLR2004
        return content
    if not content:
        told = f"The server answered with status {reply.status} and no explanation; is it a Stoker server?"
        content = {"detail": told}
    raise from_answer(reply.status, content, retry_after(reply))


def _parse(body: bytes) -> Answer:
    try:
        content = json.loads(body) if body else {}
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {"items": content}


def retry_after(reply: Reply) -> float | None:
    """Give the seconds after which the server wants to be asked again, None if it did not say."""
    try:
        return max(0.0, float(reply.headers["retry-after"]))
    except (KeyError, ValueError):
        return None
