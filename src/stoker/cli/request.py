"""From the flags of a submit to the request that is sent: flags win over the file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stoker.cli.jobfile import read_job
from stoker.domain.errors import invalid


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """What a submit's command line says. `fields`, `config` and `limits` hold only what was given."""

    file: str | None = None
    command: Sequence[str] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    sets: Sequence[str] = ()
    env: Sequence[str] = ()
    secrets: Sequence[str] = ()
    dataset: str | None = None
    upload: bool = False


def build(given: Given) -> dict[str, Any]:
    """Give the request as `POST execute` takes it. Raises `InvalidRequest` for what can't be made sense of."""
    request = read_job(given.file) if given.file else {}
    request |= given.fields
    if given.command:
        request["command"] = list(given.command)
        request.setdefault("recipe", "command")
    if request.get("recipe") == "command":
        request.setdefault("cwd", os.getcwd())
    _put_paths(request, given)
    _put_config(request, given)
    if given.limits:
        request["limits"] = _object(request, "limits") | dict(given.limits)
    if given.env:
        request["env"] = _object(request, "env") | dict(_variable(text) for text in given.env)
    if given.secrets:
        request["secrets"] = _object(request, "secrets") | dict(_secret(text) for text in given.secrets)
    return request


def _put_paths(request: dict[str, Any], given: Given) -> None:
    """Make paths of this machine absolute; send the data along if that was asked for."""
    for name in ("cwd", "python"):
        if isinstance(path := request.get(name), str) and (name == "cwd" or os.sep in path):
            request[name] = os.path.abspath(os.path.expanduser(path))
    if given.dataset is not None:
        request.pop("dataset_content", None)
        request["dataset_path"] = given.dataset
    if isinstance(dataset := request.get("dataset_path"), str):
        request["dataset_path"] = os.path.abspath(os.path.expanduser(dataset))
    if given.upload and (path := request.pop("dataset_path", None)) is not None:
        request["dataset_content"] = _read(str(path))


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise invalid("--dataset", f"{path} can't be sent: {why}", "Check the path, or leave --upload out") from error


def _put_config(request: dict[str, Any], given: Given) -> None:
    config = _object(request, "config")
    for path, value in (*given.config.items(), *(_assignment(text) for text in given.sets)):
        at, (*outer, last) = config, path.split(".")
        for name in outer:
            at[name] = dict(found) if isinstance(found := at.get(name), dict) else {}
            at = at[name]
        at[last] = value
    if isinstance(model := config.get("model"), dict) and isinstance(model.get("name"), str):
        config["model"] = model | {"name": _place(model["name"])}
    if config:
        request["config"] = config


def _place(model: str) -> str:
    """Give a model's folder as an absolute path; a name on the Hub begins otherwise and stays as it is."""
    return os.path.abspath(os.path.expanduser(model)) if model.startswith((".", "~", "/")) else model


def _object(request: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = request.get(name) or {}
    if not isinstance(found, dict):
        raise invalid(name, "is not a set of fields", f"Write {name} as names and values")
    return dict(found)


def _assignment(text: str) -> tuple[str, Any]:
    path, equals, value = text.partition("=")
    if not equals or not all(path.split(".")):
        raise invalid("--set", f"'{text}' sets nothing", "Write it as training.learning_rate=1e-4")
    try:
        return path, json.loads(value)
    except ValueError:
        return path, value


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    return (name, value) if equals else (name, _own("--env", name))


def _secret(text: str) -> tuple[str, str]:
    """Read a secret's value from the own environment or a file; on the command line everybody could see it."""
    name, equals, place = text.partition("=")
    if not equals:
        return name, _own("--secret", name)
    if not place.startswith("@"):
        raise invalid(
            "--secret",
            f"the value of {name} was written on the command line, where every user of this machine can read it",
            f"Change that value if it is a real one; then use --secret {name} (from the environment) or {name}=@FILE",
        )
    try:
        with open(os.path.expanduser(place[1:]), encoding="utf-8") as file:
            return name, file.read().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise invalid("--secret", f"the file of {name} can't be read", "Check its path and its rights") from error


def _own(option: str, name: str) -> str:
    if name not in os.environ:
        raise invalid(option, f"{name} is not set in this environment", f"Set it, for example: export {name}=...")
    return os.environ[name]
