"""Finding the errors in a log: grouped lines, and the last traceback with its frames. Pure and linear in time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

LEVEL = re.compile(r"\b(ERROR|CRITICAL|FATAL|WARNING)\b")
FRAME = re.compile(r'^  File "([^"]{1,4096})", line (\d{1,9})(?:, in (.{1,200}))?$')
DIGITS = re.compile(r"\d+")
OPENING = "Traceback (most recent call last):"
MAX_CHARACTERS = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedError:
    """A group of equal lines: the level, the text of the first, how many there were, and the first one's number."""

    level: str
    message: str
    key: str
    line: int
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One frame of a traceback."""

    file: str
    line: int
    function: str
    code: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Traceback:
    """A Python traceback as it was logged."""

    raw: str
    frames: tuple[Frame, ...] = ()
    exception_type: str | None = None
    exception_message: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LogErrors:
    """What a log tells of errors; `total` counts lines, `errors` groups them in order of their first line."""

    errors: tuple[LoggedError, ...] = field(default=())
    total: int = 0
    traceback: Traceback | None = None


def find_errors(lines: Sequence[str], first_number: int = 0) -> LogErrors:
    """Group the error lines of a log, digits disregarded, and read its last traceback."""
    groups: dict[str, LoggedError] = {}
    total = 0
    for number, line in enumerate(lines, first_number):
        level = level_of(line)
        if level is None:
            continue
        total += 1
        key = hashlib.sha256(DIGITS.sub("#", line).encode()).hexdigest()[:16]
        known = groups.get(key)
        count = known.count + 1 if known else 1
        message, where = (known.message, known.line) if known else (line[:MAX_CHARACTERS], number)
        groups[key] = LoggedError(level=level, message=message, key=key, line=where, count=count)
    return LogErrors(errors=tuple(groups.values()), total=total, traceback=last_traceback(lines))


def level_of(line: str) -> str | None:
    """Give the level of a line that tells of trouble: by its word, or an exception at its start."""
    found = LEVEL.search(line[:MAX_CHARACTERS])
    if found:
        return found.group(1)
    name = line.split(":", 1)[0]
    is_exception = (
        name.isascii() and name.replace(".", "").replace("_", "").isalnum() and name.endswith(("Error", "Exception"))
    )
    return "ERROR" if is_exception else None


def last_traceback(lines: Sequence[str]) -> Traceback | None:
    """Read the last traceback; None if there is none."""
    start = next((i for i in range(len(lines) - 1, -1, -1) if lines[i].endswith(OPENING)), None)
    if start is None:
        return None
    frames: list[Frame] = []
    for number in range(start + 1, len(lines)):
        line = lines[number]
        if found := FRAME.match(line):
            code = lines[number + 1].strip() if number + 1 < len(lines) else ""
            frames.append(Frame(file=found[1], line=int(found[2]), function=found[3] or "", code=code[:MAX_CHARACTERS]))
        elif line and not line.startswith(" "):
            name, _, message = line.partition(": ")
            raw = "\n".join(lines[start : number + 1])
            return Traceback(
                raw=raw,
                frames=tuple(frames),
                exception_type=name[:MAX_CHARACTERS],
                exception_message=message[:MAX_CHARACTERS] or None,
            )
    return Traceback(raw="\n".join(lines[start:]), frames=tuple(frames))
