"""The recipes that are installed: found by their entry points, loaded when first asked for."""

from __future__ import annotations

import difflib
import functools
from importlib.metadata import EntryPoint, entry_points

from stoker.domain.errors import InvalidRequest, invalid
from stoker.recipes.port import Recipe

GROUP = "stoker.recipes"


def names() -> list[str]:
    """List the names of the installed recipes."""
    return sorted(_found())


@functools.cache
def get(name: str) -> Recipe:
    """Give a recipe by its name. Raises `InvalidRequest` for one that is not installed or can't be loaded."""
    entry = _found().get(name)
    if entry is None:
        raise _unknown(name)
    try:
        recipe: Recipe = entry.load()()
    except Exception as error:
        raise invalid(
            "recipe",
            f"'{name}' is installed and can't be loaded ({type(error).__name__}: {error})",
            f"Mend or remove the package that brings it ({entry.value})",
        ) from error
    return recipe


def _found() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _unknown(name: str) -> InvalidRequest:
    known = names()
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean '{close[0]}'? " if close else ""
    return invalid("recipe", f"'{name}' is not known", f"{hint}Known are {', '.join(known)}")
