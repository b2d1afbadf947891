"""Bodies: JSON bytes into a value of the service, or every fault of them by field."""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from stoker.domain.errors import InvalidRequest, Problem, invalid
from stoker.recipes.problems import from_validation

T = TypeVar("T")

MAX_KEY = 255
MAX_VALUES = 100_000
"""Values that a body may hold. Each costs far more than its bytes, and all are read without a pause."""

_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)

_REMEDIES = {
    "job_id": "It is called 'execution_id'",
    "id": "It is called 'execution_id'",
    "dataset": "Give 'dataset_path', or the rows themselves as 'dataset_content'",
    "model": "It belongs to config.model",
    "timeout": "It is called 'limits.time_limit_seconds'",
}


def read(body: bytes, shape: type[T]) -> T:
    """Give the value that a body describes. Types are taken as they are: "2" is no number, true is none either.

    Raises `InvalidRequest` with every fault.
    """
    _check_size(body)
    if b"NaN" in body or b"Infinity" in body:
        _check_syntax(body)
    reader: TypeAdapter[T] = _reader(shape)  # type: ignore[arg-type]  # types are hashable, which mypy doubts
    try:
        return reader.validate_json(body, strict=True)
    except ValidationError as error:
        if error.errors(include_input=False, include_url=False)[0]["type"] == "json_invalid":
            _check_syntax(body)
        problems = from_validation(error, shape, "", _REMEDIES)
        raise InvalidRequest(*map(_told, problems)) from None


def check_idempotency_key(key: str | None) -> str | None:
    """Give the key of a submit, None if it has none. Raises `InvalidRequest` for one that can't be kept."""
    if not key:
        return None
    if len(key) > MAX_KEY or not key.isprintable():
        raise invalid("Idempotency-Key", "is too long", f"Use at most {MAX_KEY} printable characters")
    return key


def schema(shape: type, *, is_required: bool = True) -> dict[str, Any]:
    """Give the JSON Schema of a body, as the API's description has it."""
    found = {"application/json": {"schema": _inlined(_reader(shape).json_schema())}}
    return {"requestBody": {"required": is_required, "content": found}}


@functools.cache
def _reader(shape: type) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


def _inlined(found: dict[str, Any]) -> dict[str, Any]:
    """Put what a schema refers to in its place: a part of a larger document can't hold definitions of its own."""
    parts = found.pop("$defs", {})
    for name, value in found.get("properties", {}).items():
        if "$ref" in value:
            found["properties"][name] = parts[value["$ref"].rpartition("/")[2]]
    return found


def _check_size(body: bytes) -> None:
    """Raise `InvalidRequest` for more values than any request has. What is inside of texts, such as rows, is none."""
    if _marks(body) > MAX_VALUES and _marks(_TEXT.sub(b"", body)) > MAX_VALUES:
        raise invalid(
            "body", f"holds more than {MAX_VALUES} JSON values", "Give the rows of a data set as one text, or a path"
        )


def _marks(body: bytes) -> int:
    return sum(map(body.count, (b",", b"[", b"{")))


def _check_syntax(body: bytes) -> None:
    try:
        from_json(body, allow_inf_nan=False)
    except ValueError as error:
        remedy = "Send one JSON object in UTF-8; NaN and Infinity are no JSON"
        raise invalid("body", f"is not valid JSON: {error}", remedy) from None


def _told(problem: Problem) -> Problem:
    """Name the body itself where no field is at fault, and never repeat what stands where a secret should."""
    if problem.field.split(".")[0].split("[")[0] == "secrets" and problem.message != "is not known":
        return replace(problem, message="is not an object of texts")
    return replace(problem, field=problem.field or "body")
