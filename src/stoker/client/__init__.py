"""The Python client: `Client` for ordinary code (standard library only), `AsyncClient` for asynchronous code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stoker.client.calls import Answer
from stoker.client.errors import (
    AnswerLost,
    ClientError,
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    ServerError,
    ServerUnreachable,
    Unauthenticated,
    Unavailable,
)
from stoker.client.feed import FeedEvent
from stoker.client.synchronous import Client

if TYPE_CHECKING:
    from stoker.client.asynchronous import AsyncClient

__all__ = [
    "Answer",
    "AnswerLost",
    "AsyncClient",
    "Client",
    "ClientError",
    "Conflict",
    "FeedEvent",
    "Forbidden",
    "InvalidRequest",
    "NotFound",
    "ServerError",
    "ServerUnreachable",
    "Unauthenticated",
    "Unavailable",
]


def __getattr__(name: str) -> Any:
    """Import `AsyncClient` only when it is asked for: httpx alone would double the start of a command."""
    if name == "AsyncClient":
        from stoker.client.asynchronous import AsyncClient  # noqa: PLC0415

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
