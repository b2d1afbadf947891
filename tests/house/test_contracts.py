"""The floors of the house: who may import whom, and what may be loaded where."""

import re
import subprocess
import sys
import tomllib

import grimp
import pytest
from importlinter.cli import lint_imports

from tests.house.source import PACKAGE, ROOT

STANDARD_ONLY = ("stoker.domain", "stoker.rundir", "stoker.supervisor", "stoker.trainer.reporter")
"""What lives beside a trainer, perhaps in an interpreter that has nothing installed."""

LIGHT_FLOORS = ("api", "bootstrap", "client", "engines", "recipes", "scheduler", "service", "store")


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("stoker", include_external_packages=True, cache_dir=None)


def test_every_contract_is_kept(capsys):
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True)

    assert status == 0, capsys.readouterr().out


def test_every_floor_has_its_place_in_the_contract(project):
    layers = " | ".join(project["tool"]["importlinter"]["contracts"][0]["layers"]).split(" | ")
    floors = [path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]

    assert sorted(layers) == sorted(set(floors) - {"__init__"})


def in_any(module, roots):
    return any(module == root or module.startswith(f"{root}.") for root in roots)


def test_what_lives_beside_a_trainer_needs_the_standard_library_only(graph):
    sources = [module for module in graph.modules if in_any(module, STANDARD_ONLY)]
    foreign = {
        (module, imported)
        for module in sources
        for imported in graph.find_modules_directly_imported_by(module)
        if imported.split(".")[0] not in sys.stdlib_module_names and not in_any(imported, STANDARD_ONLY)
    }

    assert len(sources) > 30
    assert foreign == set()


IMPORTED_AS = {"pyyaml": "yaml"}


def imported_names(requirements):
    """Give the names under which distributions are imported."""
    names = {re.split(r"[\[<>=!~; ]", line)[0].replace("-", "_").lower() for line in requirements}
    return {IMPORTED_AS.get(name, name) for name in names}


def test_the_contract_names_every_dependency(project):
    dependencies = imported_names(project["project"]["dependencies"])
    training = imported_names(project["project"]["optional-dependencies"]["train"])
    beside, server = project["tool"]["importlinter"]["contracts"][1:3]

    assert dependencies | training <= set(beside["forbidden_modules"])
    assert training <= set(server["forbidden_modules"])
    assert set(beside["source_modules"]) == set(STANDARD_ONLY)
    assert set(server["source_modules"]) == {f"stoker.{floor}" for floor in LIGHT_FLOORS}


def test_a_server_is_put_together_without_torch():
    code = f"""
import sys
import stoker.bootstrap, {", ".join(f"stoker.{floor}" for floor in LIGHT_FLOORS)}
heavy = {{"torch", "transformers", "trl", "peft", "datasets", "accelerate", "numpy"}}
sys.exit(", ".join(sorted(heavy & sys.modules.keys())) or 0)
"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert (loaded.returncode, loaded.stderr) == (0, "")


def test_a_supervisor_is_loaded_by_a_bare_interpreter():
    code = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); import stoker.supervisor.startup"
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )

    assert (loaded.returncode, loaded.stderr) == (0, "")


def test_a_trainers_hook_is_loaded_by_a_bare_interpreter():
    code = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); import stoker.trainer.reporter"
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )

    assert (loaded.returncode, loaded.stderr) == (0, "")
