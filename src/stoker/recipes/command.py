"""The recipe `command`: any argv, in the user's own world."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stoker.domain.errors import InvalidRequest, Problem
from stoker.domain.spec import JobSpec
from stoker.recipes.environment import passed_on
from stoker.recipes.interpreter import Interpreter, find_interpreter
from stoker.recipes.port import Launch, LaunchRequest
from stoker.recipes.source import describe_source
from stoker.rundir.layout import RunDir

SOURCE = "source.json"
_PYTHONS = frozenset({"python", "python3"})


class CommandRecipe:
    """Runs what it is given, without a shell."""

    name = "command"

    def resolve(self, spec: JobSpec) -> JobSpec:
        """Check the argv and the places that it names."""
        problems = [*_argv_problems(spec), *_place_problems(spec), *_foreign_problems(spec)]
        if not problems:
            problems = _executable_problems(spec)
        if problems:
            raise InvalidRequest(*problems)
        return replace(spec, cwd=None if spec.cwd is None else os.path.normpath(spec.cwd))

    def paths(self, spec: JobSpec) -> tuple[tuple[str, str], ...]:
        """Name every path that will be read; what the command itself reads is its own affair."""
        named = (("cwd", spec.cwd), ("python", spec.python))
        return tuple((field, path) for field, path in named if path is not None)

    def launch(self, request: LaunchRequest) -> Launch:
        """Run the argv where and as the spec says."""
        spec = request.spec
        cwd = spec.cwd or request.run_dir
        progress = dict.fromkeys(RunDir(root).progress for root in (request.run_dir, cwd))
        source = None if spec.cwd is None else describe_source(spec.cwd)
        return Launch(
            argv=_argv(spec),
            env=_environment(spec, request.environment),
            cwd=cwd,
            files={} if source is None else {SOURCE: json.dumps(source, indent=1).encode() + b"\n"},
            progress_files=tuple(progress),
        )

    def schema(self) -> dict[str, Any]:
        """Give the JSON Schema of the config: an empty object, a command is told by the request's own fields."""
        return {"type": "object", "title": "CommandConfig", "properties": {}, "additionalProperties": False}


def _argv(spec: JobSpec) -> tuple[str, ...]:
    command = spec.command
    interpreter = _interpreter(spec)
    if interpreter is not None and command[0] in _PYTHONS:
        command = (interpreter.executable, *command[1:])
    return (*spec.prefix, *command)


def _environment(spec: JobSpec, server: Mapping[str, str]) -> dict[str, str]:
    environment = passed_on(server) | dict(spec.env)
    interpreter = _interpreter(spec)
    return environment if interpreter is None else interpreter.activate(environment)


def _interpreter(spec: JobSpec) -> Interpreter | None:
    found = None if spec.python is None else find_interpreter(spec.python)
    return found if isinstance(found, Interpreter) else None


def _argv_problems(spec: JobSpec) -> list[Problem]:
    remedy = 'Give the argv as a list of texts, such as ["python", "train.py"]; no shell reads it'
    problems = []
    if not spec.command:
        problems.append(Problem(field="command", message="is missing", remedy=remedy))
    for field in ("command", "prefix"):
        for index, word in enumerate(getattr(spec, field)):
            if not isinstance(word, str) or "\0" in word or (index == 0 and not word):
                problems.append(Problem(field=f"{field}[{index}]", message="can't be an argument", remedy=remedy))
    return problems


def _place_problems(spec: JobSpec) -> list[Problem]:
    problems = []
    if spec.cwd is not None and not (os.path.isabs(spec.cwd) and os.path.isdir(spec.cwd)):
        message = f"'{spec.cwd}' is no folder on this machine"
        remedy = "Give the absolute path of a folder, or leave it out to run in the run folder"
        problems.append(Problem(field="cwd", message=message, remedy=remedy))
    if spec.python is not None and isinstance(found := find_interpreter(spec.python), Problem):
        problems.append(found)
    return problems


def _foreign_problems(spec: JobSpec) -> list[Problem]:
    problems = [
        Problem(field=f"config.{name}", message="is not known", remedy="Leave it out; a command takes no config")
        for name in spec.config
    ]
    if spec.dataset_path is not None:
        remedy = "Name the file in the command itself, or use the recipe 'finetune'"
        problems.append(Problem(field="dataset_path", message="is not for the recipe 'command'", remedy=remedy))
    return problems


def _executable_problems(spec: JobSpec) -> list[Problem]:
    """Look for the program; with a prefix, for the prefix's: what runs inside a container can't be seen from here."""
    first = _argv(spec)[0]
    search = _environment(spec, os.environ).get("PATH", os.defpath)
    place = os.path.join(spec.cwd, first) if spec.cwd and os.sep in first else first
    if os.sep in first and spec.cwd is None and not os.path.isabs(first):
        message, remedy = f"'{first}' is relative and there is no cwd", "Give an absolute path, or a cwd"
    elif shutil.which(place, path=search) is None:
        where = "PATH" if os.sep not in first else "this place"
        message, remedy = f"'{first}' is no program in {where}", "Give the absolute path of an executable file"
    else:
        return []
    return [Problem(field="prefix[0]" if spec.prefix else "command[0]", message=message, remedy=remedy)]
