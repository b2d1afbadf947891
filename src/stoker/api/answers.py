"""Answers: JSON bytes that never fail on a value, and never hold a NaN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from stoker.store.codec import encode_json


def encode(content: object) -> bytes:
    """Give a value as JSON. NaN and infinity become null; what JSON can't hold is replaced rather than refused."""
    try:
        return orjson.dumps(content)
    except TypeError:
        return encode_json(content).encode()


def answer(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Give a JSON answer."""
    return Response(encode(content), status, dict(headers or {}), "application/json")


def problem_answer(content: dict[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """Give a problem (RFC 9457); its status is the answer's."""
    return Response(encode(content), content["status"], dict(headers or {}), "application/problem+json")
