"""The source as the tests of the house see it: files, trees, tracked text."""

import ast
import functools
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "stoker"
KEPT_FOLDERS = {"docs", "scripts", "src", "tests"}


@dataclass(frozen=True)
class Module:
    """One file of the package: its path within it, its text and its syntax tree."""

    name: str
    text: str
    tree: ast.Module


@functools.cache
def modules() -> tuple[Module, ...]:
    """Read every module of the package."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text()
        found.append(Module(str(path.relative_to(PACKAGE)), text, ast.parse(text)))
    return tuple(found)


@functools.cache
def tracked() -> tuple[Path, ...]:
    """List the files that are under version control and still there; without git, all that look like it."""
    try:
        names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        tops = [path for path in ROOT.iterdir() if path.name in KEPT_FOLDERS]
        return tuple(
            path for top in tops for path in top.rglob("*") if path.is_file() and "__pycache__" not in path.parts
        )
    return tuple(ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file())


def functions(module: Module):
    """Give every function of a module."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return [node for node in ast.walk(module.tree) if isinstance(node, kinds)]


def body_lines(function) -> int:
    """Count the lines of a body, its docstring left out."""
    body = function.body
    if ast.get_docstring(function, clean=False) is not None:
        body = body[1:]
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0
