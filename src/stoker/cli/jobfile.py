"""Reading a job from a file: JSON, or YAML in its 1.2 sense, where `1e-4` is a number and `on` is a word."""

from __future__ import annotations

import json
import re
import sys
from importlib import import_module
from typing import Any

from stoker.domain.errors import invalid

WORDS = {
    "int": (r"[-+]?\d+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+.0123456789"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
}
"""What a plain word means in YAML 1.2, and the characters that it may begin with."""

KEPT_TAGS = ("null", "merge")


def read_job(path: str) -> dict[str, Any]:
    """Read the request that a file holds; `-` is standard input. Raises `InvalidRequest`."""
    text = _text(path)
    found = _from_json(path, text) if path.endswith(".json") else _from_yaml(path, text)
    if not isinstance(found, dict):
        raise invalid(path, "holds no job", "Write the fields of a job, such as recipe, config and dataset_path")
    return found


def _text(path: str) -> str:
    try:
        if path == "-":
            return sys.stdin.read()
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        remedy = "Check the path; a command to run goes behind `--`: stoker submit -- python train.py"
        raise invalid(path, f"can't be read: {error.strerror}", remedy) from error
    except UnicodeDecodeError as error:
        raise invalid(path, "is not UTF-8 text", "Save it as UTF-8") from error


def _from_json(path: str, text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise invalid(path, f"is not valid JSON: {error}", "Mend the file at this place") from error


def _from_yaml(path: str, text: str) -> object:
    try:
        yaml = import_module("yaml")
    except ModuleNotFoundError:
        return _from_json(path, text)  # JSON is YAML, so a file of any name may hold it
    try:
        return yaml.load(text, Loader=_loader(yaml))
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())
        raise invalid(path, f"is not valid YAML: {told}", "Mend the file at this place") from error


def _loader(yaml: Any) -> Any:
    """Give a safe loader without the traps of YAML 1.1: dates, 22:30 as minutes, `no` as false, `1e-4` as text."""
    loader: Any = type("JobLoader", (yaml.SafeLoader,), {})
    kept = tuple(f"tag:yaml.org,2002:{tag}" for tag in KEPT_TAGS)
    loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag in kept]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for tag, (pattern, first) in WORDS.items():
        loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{pattern})$"), list(first))
    loader.add_constructor("tag:yaml.org,2002:int", _integer)
    return loader


def _integer(loader: Any, node: Any) -> int:
    text: str = loader.construct_scalar(node)
    return int(text, 16) if text.startswith("0x") else int(text)
