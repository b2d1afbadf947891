"""What a check found, and how bad it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; nothing has to be done."""

    WARNING = "warning"
    """Something will not work as well as it could."""

    FAULT = "fault"
    """Something does not work until it is mended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One line of doctor's report: what was looked at, what was found, what to do about it."""

    name: str
    level: Level
    told: str
    remedy: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give it for JSON."""
        return asdict(self)


def ok(name: str, told: str) -> Finding:
    """All is well."""
    return Finding(name=name, level=Level.OK, told=told)


def note(name: str, told: str, remedy: str | None = None) -> Finding:
    """Worth knowing."""
    return Finding(name=name, level=Level.NOTE, told=told, remedy=remedy)


def warning(name: str, told: str, remedy: str) -> Finding:
    """Will not work as well as it could."""
    return Finding(name=name, level=Level.WARNING, told=told, remedy=remedy)


def fault(name: str, told: str, remedy: str) -> Finding:
    """Does not work until it is mended."""
    return Finding(name=name, level=Level.FAULT, told=told, remedy=remedy)
