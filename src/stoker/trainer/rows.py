"""The rows of a data set: read one by one, each checked, each fault with its row number. Standard library only.

A file is JSON Lines, a JSON array or {"examples": […]}, plain or gzip. A row is one of `FORMS`; keys beyond those of
its form are passed over. All rows of a file have the same form.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import json
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, Any

MAX_ROW_BYTES = 16 << 20
MAX_ARRAY_BYTES = 512 << 20
"""A JSON array is parsed whole; a longer one must be JSON Lines, which is read row by row."""

ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})


class Form(StrEnum):
    """What a row holds, in the words of the training libraries."""

    MESSAGES = "messages"
    TEXT = "text"
    PROMPT_COMPLETION = "prompt_completion"


class BadRow(Exception):
    """A row, or the file itself (row 0), that can't be trained on. The text is a sentence without the row's number."""

    def __init__(self, number: int, text: str) -> None:
        """Take the row's number, counted from 1 as people do, and what is wrong."""
        super().__init__(text)
        self.number, self.text = number, text

    def __str__(self) -> str:
        """Say it with the row's number."""
        return f"Row {self.number}: {self.text}" if self.number else self.text


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """What a data set holds: the number of rows, their form, and the faults that were found (the first of many)."""

    rows: int
    form: Form | None
    faults: tuple[BadRow, ...]


def read_rows(path: str, limit: int | None = None) -> Iterator[tuple[Form, dict[str, Any]]]:
    """Give each row with its form, up to `limit` of them. Raises `BadRow` at the first fault, `OSError`."""
    expected: Form | None = None
    for number, value in _values(path):
        if limit is not None and number > limit:
            return
        if isinstance(value, BadRow):
            raise value
        expected, row = _check(number, value, expected)
        yield expected, row


def survey(path: str, limit: int | None = None, max_faults: int = 20) -> Survey:
    """Check every row, up to `limit` of them, and collect the faults instead of raising them. Raises `OSError`."""
    count, form = 0, None
    faults: list[BadRow] = []
    for number, value in _until_bad_file(path, faults):
        if (limit is not None and number > limit) or len(faults) >= max_faults:
            break
        count = number
        try:
            if isinstance(value, BadRow):
                raise value
            form, _ = _check(number, value, form)
        except BadRow as fault:
            faults.append(fault)
    if count == 0 and not faults:
        faults.append(BadRow(0, "The data set has no rows"))
    return Survey(rows=count, form=form, faults=tuple(faults))


def _until_bad_file(path: str, faults: list[BadRow]) -> Iterator[tuple[int, Any]]:
    try:
        yield from _values(path)
    except BadRow as fault:
        faults.append(fault)


# From bytes to values


def _values(path: str) -> Iterator[tuple[int, Any]]:
    """Give each row's number and value; a line that is no JSON comes as a `BadRow` so that the reading can go on."""
    with _open(path) as file:
        try:
            whole = _is_whole_document(file)
            file.seek(0)
            yield from _from_document(file) if whole else _from_lines(file)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise BadRow(0, f"The data set is damaged: {error}") from error


def open_regular(path: str) -> IO[bytes]:
    """Open a regular file, through links too; never waits, as opening a pipe would. Raises `OSError`."""
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - it is given to the caller
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "it is not a regular file", path)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


@contextlib.contextmanager
def _open(path: str) -> Iterator[IO[bytes]]:
    with open_regular(path) as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not compressed:
            yield file
            return
        with gzip.open(file) as plain:
            yield plain  # type: ignore[misc]


def _is_whole_document(file: IO[bytes]) -> bool:
    """Tell an array or {"examples": …} from JSON Lines by the first line that is not empty."""
    first = _first_line(file)
    if not first.startswith(b"{"):
        return first.startswith(b"[")
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return not _looks_like_lines(first)
    return isinstance(value, dict) and isinstance(value.get("examples"), list)


def _first_line(file: IO[bytes]) -> bytes:
    while line := file.readline(MAX_ROW_BYTES):
        if stripped := line.lstrip(b"\xef\xbb\xbf \t\r\n"):
            return stripped
    return b""


def _looks_like_lines(first: bytes) -> bool:
    """Tell a spoilt JSON line from the head of a document that is spread over lines."""
    text = first.rstrip()
    return len(text) > 1 and not text.endswith((b"{", b"[", b",")) and not text.startswith(b'{"examples"')


def _from_lines(file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    number = 0
    while line := file.readline(MAX_ROW_BYTES + 1):
        if not line.strip(b"\xef\xbb\xbf \t\r\n"):
            continue
        number += 1
        if len(line) > MAX_ROW_BYTES:
            raise BadRow(number, f"The row is longer than {MAX_ROW_BYTES >> 20} MiB")
        yield number, _parsed(number, line.lstrip(b"\xef\xbb\xbf"))


def _parsed(number: int, line: bytes) -> Any:
    try:
        return json.loads(line)
    except UnicodeDecodeError:
        return BadRow(number, "The row is not UTF-8 text")
    except RecursionError:
        return BadRow(number, "The row is nested too deeply")
    except ValueError as error:
        return BadRow(number, f"The row is not JSON ({error})")


def _from_document(file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    data = file.read(MAX_ARRAY_BYTES + 1)
    if len(data) > MAX_ARRAY_BYTES:
        raise BadRow(0, f"A JSON array may have {MAX_ARRAY_BYTES >> 20} MiB; write the rows as JSON Lines instead")
    value = _parsed(0, data.lstrip(b"\xef\xbb\xbf"))
    if isinstance(value, BadRow):
        raise BadRow(0, value.text.replace("The row", "The data set"))
    rows = value.get("examples") if isinstance(value, dict) else value
    if not isinstance(rows, list):
        raise BadRow(0, 'The data set is a JSON object without a list "examples"')
    yield from enumerate(rows, start=1)


# From values to rows


def _check(number: int, value: Any, expected: Form | None) -> tuple[Form, dict[str, Any]]:
    if not isinstance(value, dict):
        raise BadRow(number, f"The row is {_kind(value)}, not an object")
    form = _form(number, value)
    row = _contents(number, form, value)
    if expected is not None and form is not expected:
        raise BadRow(number, f"The row has the form {form} where earlier rows have {expected}; all must have the same")
    return form, row


def _contents(number: int, form: Form, value: dict[str, Any]) -> dict[str, Any]:
    match form:
        case Form.MESSAGES:
            return {"messages": _messages(number, value["messages"])}
        case Form.TEXT:
            return {"text": _text(number, "text", value["text"])}
        case Form.PROMPT_COMPLETION:
            answer = "completion" if "completion" in value else "response"
            prompt, completion = _text(number, "prompt", value["prompt"]), _text(number, answer, value[answer])
            return {"prompt": prompt, "completion": completion}


def _form(number: int, value: dict[str, Any]) -> Form:
    if "messages" in value:
        return Form.MESSAGES
    if "prompt" in value and ("completion" in value or "response" in value):
        return Form.PROMPT_COMPLETION
    if "text" in value:
        return Form.TEXT
    if "chosen" in value or "rejected" in value:
        raise BadRow(number, "The row holds a preference (chosen, rejected), which method sft can't train on")
    found = ", ".join(sorted(map(str, value))[:8]) or "nothing"
    raise BadRow(
        number,
        f"The row has {found}; it needs `messages`, `text`, `prompt` and `completion`, or `prompt` and `response`",
    )


def _messages(number: int, messages: Any) -> list[dict[str, str]]:
    if not isinstance(messages, list) or not messages:
        raise BadRow(number, "`messages` must be a list with at least one message")
    clean = [_message(number, index, one) for index, one in enumerate(messages)]
    if not any(one["role"] == "assistant" for one in clean):
        raise BadRow(number, "`messages` has no message of the role assistant, so there is nothing to learn")
    return clean


def _message(number: int, index: int, message: Any) -> dict[str, str]:
    where = f"messages[{index}]"
    if not isinstance(message, dict):
        raise BadRow(number, f"`{where}` is {_kind(message)}, not an object with `role` and `content`")
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise BadRow(number, f"`{where}.role` must be one of {', '.join(sorted(ROLES))}")
    content = message.get("content")
    if role == "assistant":
        return {"role": role, "content": _text(number, f"{where}.content", content)}
    if not isinstance(content, str):
        raise BadRow(number, f"`{where}.content` is {_kind(content)}, not a text")
    return {"role": role, "content": _encodable(number, f"{where}.content", content)}


def _text(number: int, name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BadRow(number, f"`{name}` is {_kind(value)}, not a text")
    if not value.strip():
        raise BadRow(number, f"`{name}` is empty")
    return _encodable(number, name, value)


def _encodable(number: int, name: str, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadRow(number, f"`{name}` holds half of a surrogate pair, which is no text") from error
    return value


def _kind(value: Any) -> str:
    names = {type(None): "null", bool: "true or false", int: "a number", float: "a number", str: "a text"}
    return names.get(type(value), "a list" if isinstance(value, list) else "an object")
