"""Write the tables of docs/reference/finetune-config.md from the schema of the recipe `finetune`.

`python scripts/finetune_reference.py` rewrites what stands between the two marks of that page; with `--check` it
changes nothing and exits with 1 if the page is not up to date.
"""

# ruff: noqa: INP001 - a script and no package

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stoker.recipes.finetune import FinetuneRecipe

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "finetune-config.md"
BEGIN = "<!-- begin: written by scripts/finetune_reference.py -->"
END = "<!-- end: written by scripts/finetune_reference.py -->"

TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "object",
}
BOUNDS = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}


def main(arguments: list[str]) -> int:
    """Bring the page up to date, or with `--check` tell whether it is."""
    before = PAGE.read_text(encoding="utf-8")
    after = renewed(before)
    if arguments == ["--check"]:
        return int(before != after)
    PAGE.write_text(after, encoding="utf-8")
    return 0


def renewed(page: str) -> str:
    """Give the page with its tables written anew. Raises `ValueError` for one without the two marks."""
    head, _, rest = page.partition(BEGIN)
    _, mark, tail = rest.partition(END)
    if not mark:
        raise ValueError(f"{PAGE} lacks the marks between which the tables go")
    return f"{head}{BEGIN}\n\n{tables()}\n{END}{tail}"


def tables() -> str:
    """Give a section with a table for the config and for each part of it."""
    schema = FinetuneRecipe().schema()
    places = _places(schema, "config") | _places(schema["$defs"]["Training"], "config.training")
    parts = {"config": schema} | {place: schema["$defs"][part] for part, place in places.items()}
    return "\n".join(_section(place, part, schema["$defs"], places) for place, part in parts.items())


def _places(owner: Mapping[str, Any], prefix: str) -> dict[str, str]:
    """Give the dotted place of each part that `owner` holds."""
    return {part: f"{prefix}.{name}" for name, one in owner["properties"].items() if (part := _part(one)) is not None}


def _section(place: str, owner: Mapping[str, Any], parts: Mapping[str, Any], places: Mapping[str, str]) -> str:
    head = f"### `{place}`\n\n{owner['description']}\n\n| word | type | default | meaning |\n|---|---|---|---|\n"
    rows = []
    for name, one in owner["properties"].items():
        default = "**required**" if name in owner.get("required", ()) else _default(one)
        meaning = one.get("description") or parts[_part(one) or ""]["description"]
        rows.append(f"| `{name}` | {_type(one, places)} | {default} | {meaning} |\n")
    return head + "".join(rows)


def _type(one: Mapping[str, Any], places: Mapping[str, str]) -> str:
    if (part := _part(one)) is not None:
        anchor = places[part].replace(".", "").lower()
        return f"[object](#{anchor})"
    kinds = [kind for kind in one.get("anyOf", [one]) if kind.get("type") != "null"]
    return " or ".join(map(_kind, kinds))


def _kind(kind: Mapping[str, Any]) -> str:
    if "const" in kind:
        return f"`{json.dumps(kind['const'])}` only"
    if "enum" in kind:
        return "one of " + ", ".join(f"`{word}`" for word in kind["enum"])
    if kind["type"] == "array":
        return f"list of {_kind(kind['items'])}s"
    bounds = [f"{word} {kind[name]}" for name, word in BOUNDS.items() if name in kind]
    return f"{TYPES[kind['type']]} {', '.join(bounds)}".rstrip()


def _default(one: Mapping[str, Any]) -> str:
    if "default" not in one or one["default"] is None:
        return "-"
    value = one["default"]
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def _part(one: Mapping[str, Any]) -> str | None:
    """Give the name of the part that a field holds, None if it holds a plain value."""
    references = [kind["$ref"] for kind in one.get("anyOf", [one]) if "$ref" in kind]
    return references[0].rpartition("/")[2] if references else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
