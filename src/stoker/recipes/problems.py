"""From a validator's errors to problems that people can act on: the field, what is wrong, and the remedy."""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from stoker.domain.errors import Problem

_WORDS = {
    "int_type": ("is {given}, not a whole number", "Give a whole number"),
    "int_from_float": ("is {given}, not a whole number", "Give a whole number"),
    "float_type": ("is {given}, not a number", "Give a number, without quotes"),
    "finite_number": ("is {given}, not a finite number", "Give a number that is neither NaN nor infinite"),
    "string_type": ("is {given}, not a text", "Give a text in quotes"),
    "bool_type": ("is {given}, not true or false", "Give true or false, without quotes"),
    "list_type": ("is {given}, not a list", "Give a list"),
    "dict_type": ("is {given}, not an object", "Give an object in braces"),
    "dataclass_type": ("is {given}, not an object", "Give an object in braces"),
    "greater_than": ("is {given}", "Give a number above {gt}"),
    "greater_than_equal": ("is {given}", "Give a number of at least {ge}"),
    "less_than": ("is {given}", "Give a number below {lt}"),
    "less_than_equal": ("is {given}", "Give a number of at most {le}"),
    "missing": ("is missing", "Give it"),
    "literal_error": ("is {given}", "Give {expected}"),
    "string_too_short": ("is empty", "Give at least one character"),
    "string_too_long": ("is too long", "Give at most {max_length} characters"),
    "too_short": ("is empty", "Give at least one entry"),
}
"""What each error of the validator is in words, and the remedy."""

_SHOWN = 60


def from_validation(error: ValidationError, config: type, prefix: str, remedies: Mapping[str, str]) -> list[Problem]:
    """Give every fault that the validator found in `config`, as fields below `prefix`.

    `remedies` says what to do about unknown names that people know from elsewhere.
    """
    known = paths(config)
    found: dict[str, Problem] = {}
    for fault in error.errors(include_url=False):
        field = dotted(prefix, fault["loc"])
        if fault["type"] == "unexpected_keyword_argument":
            name = str(fault["loc"][-1])[:_SHOWN]  # any text at all, so not for `dotted` to judge
            field = f"{dotted(prefix, fault['loc'][:-1])}.{name}".removeprefix(".")
            found[field] = unknown(field, prefix, known, remedies)
        else:
            found.setdefault(field, _problem(field, fault))
    return [one for field, one in found.items() if not any(f.startswith(f"{field}[") for f in found)]


def dotted(prefix: str, location: Iterable[int | str]) -> str:
    """Give a location as a dotted path; the validator's own names for alternatives are left out.

    With an empty prefix the path begins with the location itself.
    """
    text = prefix
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.isidentifier() and part not in ("list", "str"):
            text += f".{part}"
    return text.removeprefix(".")


def paths(config: type) -> dict[str, str]:
    """Give every field of a config and of the parts in it: its dotted path, and its bare name."""
    found: dict[str, str] = {}
    hints = typing.get_type_hints(config)
    for one in dataclasses.fields(config):
        found[one.name] = one.name
        for part in _parts(hints[one.name]):
            found |= {f"{one.name}.{path}": name for path, name in paths(part).items()}
    return found


def unknown(field: str, prefix: str, known: Mapping[str, str], remedies: Mapping[str, str]) -> Problem:
    """Say that a field is not known, and which one is meant."""
    inner = field.removeprefix(f"{prefix}.")
    parent, _, name = inner.rpartition(".")
    siblings = sorted(path.removeprefix(f"{parent}.") for path in known if path.rpartition(".")[0] == parent)
    elsewhere = sorted(path for path, bare in known.items() if bare == name)
    close = difflib.get_close_matches(name, siblings, n=1, cutoff=0.6)
    if name in remedies:
        remedy = remedies[name]
    elif close:
        remedy = f"Did you mean '{close[0]}'?"
    elif elsewhere:
        remedy = f"It belongs to {f'{prefix}.{elsewhere[0]}'.removeprefix('.')}"
    else:
        remedy = f"Leave it out; known here are {', '.join(siblings)}"
    return Problem(field=field, message="is not known", remedy=remedy)


def shown(value: object) -> str:
    """Show a value that was given, shortened."""
    match value:
        case bool():
            return str(value).lower()
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "an infinite number"
        case dict() | list():
            return "an object" if isinstance(value, dict) else "a list"
        case None:
            return "null"
        case _:
            text = repr(value)
            return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _problem(field: str, fault: Any) -> Problem:
    given = shown(fault["input"])
    context = dict(fault.get("ctx", {}))
    if context.get("expected") == "False":
        context["expected"] = "false, or leave it out"
    message, remedy = _WORDS.get(fault["type"], ("is {given}", fault["msg"].replace("{", "{{").replace("}", "}}")))
    return Problem(field=field, message=message.format(given=given), remedy=remedy.format(given=given, **context))


def _parts(hint: Any) -> list[type]:
    candidates = [hint, *typing.get_args(hint)]
    return [one for one in candidates if isinstance(one, type) and dataclasses.is_dataclass(one)]
