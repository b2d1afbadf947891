"""The small bodies and parameters that only HTTP knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from stoker.domain.errors import InvalidRequest, Problem, invalid
from stoker.domain.ids import ID_PATTERN
from stoker.domain.states import JobState


@dataclass(frozen=True, kw_only=True, slots=True)
class PriorityRequest:
    """A new priority; higher starts first."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    priority: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointRequest:
    """The checkpoint to go on from; without one it is the newest that verifies."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    checkpoint_path: str | None = None


def read_states(words: Iterable[str]) -> tuple[JobState, ...]:
    """Give the states that a filter names, each as a word or several with commas between. Raises `InvalidRequest`."""
    given = split(words)
    problems = [_not_among("status", word, JobState) for word in given if word not in set(JobState)]
    if problems:
        raise InvalidRequest(*problems)
    return tuple(JobState(word) for word in given)


def read_choice(field: str, words: Iterable[str], choices: Iterable[str]) -> frozenset[str]:
    """Give the words of a list that must all be among the choices. Raises `InvalidRequest`."""
    given, choices = split(words), tuple(choices)
    problems = [_not_among(field, word, choices) for word in given if word not in choices]
    if problems:
        raise InvalidRequest(*problems)
    return frozenset(given)


def read_job_ids(words: Iterable[str]) -> frozenset[str]:
    """Give the ids of a list. Raises `InvalidRequest` for one that can't be an id; who may see them is not asked."""
    given = split(words)
    if not all(ID_PATTERN.fullmatch(word) for word in given):
        raise invalid("jobs", "holds what is no job's id", "Give ids of jobs with commas between, or leave it out")
    return frozenset(given)


def split(words: Iterable[str]) -> list[str]:
    """Give the words of a parameter that may be repeated and may hold commas."""
    return [part.strip() for word in words for part in word.split(",") if part.strip()]


def _not_among(field: str, word: str, choices: Iterable[str]) -> Problem:
    known = [str(choice) for choice in choices]
    close = difflib.get_close_matches(word, known, n=1)
    hint = f"Did you mean '{close[0]}'? " if close else ""
    return Problem(
        field=field, message=f"'{word[:60]}' is not known", remedy=f"{hint}Use one or more of {', '.join(known)}"
    )
