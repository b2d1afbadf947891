"""Starts our trainer in an interpreter that has no Stoker installed: `PYTHON …/elsewhere.py RUN_DIR`.

Only this one package is made importable there. Its parent folder is not put on the path, because the packages beside
it were installed for another interpreter.
"""

from __future__ import annotations

import importlib.util
import os
import runpy
import sys


def make_importable(package: str) -> None:
    """Make the package in the folder `package` importable under its own name, and nothing else beside it."""
    spec = importlib.util.spec_from_file_location(
        os.path.basename(package), os.path.join(package, "__init__.py"), submodule_search_locations=[package]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"There is no package in {package}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    sys.path.pop(0)  # this file's own folder, whose names are not meant to be imported bare
    if sys.version_info < (3, 11):  # noqa: UP036 - the interpreter is the user's
        sys.exit(f"Stoker's trainer needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}")
    make_importable(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    runpy.run_module("stoker.trainer", run_name="__main__", alter_sys=True)
