"""The Python that a job names: an interpreter, a virtual environment or a conda environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from stoker.domain.errors import Problem

_REMEDY = "Give the absolute path of an interpreter, of a virtual environment or of a conda environment"


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpreter:
    """A Python: its executable, the folder of its commands, and the variables that mark its environment."""

    executable: str
    commands: str
    marks: Mapping[str, str]

    def activate(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Give the environment as it is after an activation: its commands come first."""
        others = {name: value for name, value in environment.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
        search = environment.get("PATH", os.defpath)
        return {**others, **self.marks, "PATH": f"{self.commands}{os.pathsep}{search}"}


def find_interpreter(python: str) -> Interpreter | Problem:
    """Find what `python` names, or say what is wrong with it."""
    if not os.path.isabs(python):
        return _problem(f"'{python}' is not an absolute path")
    if os.path.isdir(python):
        return _in_environment(python)
    if not os.path.isfile(python):
        return _problem(f"'{python}' does not exist")
    if not os.access(python, os.X_OK):
        return _problem(f"'{python}' can't be executed")
    commands = os.path.dirname(python)
    return Interpreter(executable=python, commands=commands, marks=_marks(os.path.dirname(commands)))


def _in_environment(root: str) -> Interpreter | Problem:
    commands = os.path.join(root, "bin")
    for name in ("python", "python3"):
        executable = os.path.join(commands, name)
        if os.path.isfile(executable) and os.access(executable, os.X_OK):
            return Interpreter(executable=executable, commands=commands, marks=_marks(root))
    return _problem(f"'{root}' holds no bin/python")


def _marks(root: str) -> dict[str, str]:
    if os.path.isfile(os.path.join(root, "pyvenv.cfg")):
        return {"VIRTUAL_ENV": root}
    if os.path.isdir(os.path.join(root, "conda-meta")):
        return {"CONDA_PREFIX": root}
    return {}


def _problem(message: str) -> Problem:
    return Problem(field="python", message=message, remedy=_REMEDY)
