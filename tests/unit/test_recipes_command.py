"""The recipe `command`, the interpreter it finds, the source it records, and the registry of recipes."""

import json
import os
import stat
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from stoker.domain.errors import InvalidRequest, Problem
from stoker.domain.spec import JobSpec
from stoker.recipes import registry, source
from stoker.recipes.command import CommandRecipe
from stoker.recipes.interpreter import Interpreter, find_interpreter
from stoker.recipes.port import LaunchRequest


def launch(spec, tmp_path, environment=None):
    run = tmp_path / "run"
    run.mkdir(exist_ok=True)
    request = LaunchRequest(
        job_id="j", spec=spec, attempt=1, job_dir=str(tmp_path / "job"), run_dir=str(run), resume_from=None,
        environment=environment if environment is not None else {"PATH": os.environ["PATH"]},
    )  # fmt: skip
    return CommandRecipe().launch(request)


def problems_of(spec):
    with pytest.raises(InvalidRequest) as refused:
        CommandRecipe().resolve(spec)
    return {problem.field: str(problem) for problem in refused.value.problems}


def executable(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def venv(tmp_path):
    """A folder that looks like a virtual environment."""
    executable(tmp_path / "venv" / "bin" / "python")
    (tmp_path / "venv" / "pyvenv.cfg").write_text("home = /usr\n")
    return tmp_path / "venv"


def git(folder, *words):
    settings = ("-c", "user.name=n", "-c", "user.email=e@x", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *settings, *words], cwd=folder, check=True, capture_output=True, timeout=30)


@pytest.fixture
def repository(tmp_path):
    """A git repository with one commit."""
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "trunk")
    (folder / "train.py").write_text("print(1)\n")
    git(folder, "add", "train.py")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_a_command_runs_in_the_run_folder_by_default(tmp_path):
    spec = CommandRecipe().resolve(JobSpec(recipe="command", command=("sh", "-c", "exit 3")))
    made = launch(spec, tmp_path)

    assert made.argv == ("sh", "-c", "exit 3")
    assert made.cwd == str(tmp_path / "run")
    assert made.progress_files == (str(tmp_path / "run" / "progress.json"),)
    assert made.files == {}
    assert not made.reports
    assert not made.can_save


def test_a_progress_file_may_be_in_the_run_folder_or_the_working_directory(tmp_path):
    made = launch(JobSpec(command=("true",), cwd=str(tmp_path)), tmp_path)

    assert made.progress_files == (str(tmp_path / "run" / "progress.json"), str(tmp_path / "progress.json"))


def test_a_prefix_goes_in_front(tmp_path):
    made = launch(JobSpec(command=("python", "a.py"), prefix=("env", "-i")), tmp_path)

    assert made.argv == ("env", "-i", "python", "a.py")


def test_a_virtual_environment_is_activated_and_its_python_taken(venv, tmp_path):
    made = launch(
        JobSpec(command=("python3", "a.py"), python=str(venv)), tmp_path, {"PATH": "/bin", "CONDA_PREFIX": "x"}
    )

    assert made.argv == (str(venv / "bin" / "python"), "a.py")
    assert made.env["VIRTUAL_ENV"] == str(venv)
    assert made.env["PATH"] == f"{venv / 'bin'}:/bin"
    assert "CONDA_PREFIX" not in made.env


def test_a_conda_environment_is_activated(tmp_path):
    executable(tmp_path / "conda" / "bin" / "python3")
    (tmp_path / "conda" / "conda-meta").mkdir()
    found = find_interpreter(str(tmp_path / "conda"))

    assert isinstance(found, Interpreter)
    assert found.activate({"VIRTUAL_ENV": "x"})["CONDA_PREFIX"] == str(tmp_path / "conda")


def test_an_interpreter_may_be_named_itself(venv):
    found = find_interpreter(str(venv / "bin" / "python"))

    assert isinstance(found, Interpreter)
    assert found.marks == {"VIRTUAL_ENV": str(venv)}


@pytest.mark.parametrize(
    ("python", "words"),
    [
        ("python3", "not an absolute path"),
        ("/nowhere/python", "does not exist"),
        ("/etc/passwd", "can't be executed"),
        ("/etc", "holds no bin/python"),
    ],
)
def test_a_python_that_is_none_is_refused(python, words):
    found = find_interpreter(python)

    assert isinstance(found, Problem)
    assert words in found.message


def test_a_command_other_than_python_is_left_as_it_is(venv, tmp_path):
    made = launch(JobSpec(command=("torchrun", "python"), python=str(venv)), tmp_path)

    assert made.argv == ("torchrun", "python")


def test_every_fault_of_a_command_comes_at_once():
    spec = JobSpec(
        command=("", "a\0b"), cwd="relative", python="nope", config={"x": 1}, dataset_path="/d", prefix=("", )
    )  # fmt: skip

    assert set(problems_of(spec)) == {
        "command[0]", "command[1]", "prefix[0]", "cwd", "python", "config.x", "dataset_path",
    }  # fmt: skip
    assert "is missing" in problems_of(JobSpec())["command"]


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"command": ("no-such-program",)}, "command[0]", "no program in PATH"),
        ({"command": ("./train.sh",)}, "command[0]", "is relative and there is no cwd"),
        ({"command": ("./train.sh",), "cwd": "/tmp"}, "command[0]", "no program in this place"),
        ({"command": ("/etc/passwd",)}, "command[0]", "no program in this place"),
        ({"command": ("anything",), "prefix": ("no-such-prefix",)}, "prefix[0]", "no program in PATH"),
    ],
)
def test_a_program_that_is_not_there_is_refused(changes, field, words):
    assert words in problems_of(JobSpec(**changes))[field]


def test_a_program_beside_the_working_directory_is_found(tmp_path):
    executable(tmp_path / "train.sh")

    assert CommandRecipe().resolve(JobSpec(command=("./train.sh",), cwd=f"{tmp_path}/")).cwd == str(tmp_path)


def test_the_paths_of_a_command_are_named():
    assert CommandRecipe().paths(JobSpec(command=("ls",), cwd="/a", python="/b")) == (("cwd", "/a"), ("python", "/b"))
    assert CommandRecipe().schema()["additionalProperties"] is False


def test_the_commit_that_a_command_runs_from_is_recorded(repository, tmp_path):
    made = launch(JobSpec(command=("true",), cwd=str(repository)), tmp_path)
    recorded = json.loads(made.files["source.json"])

    assert len(recorded["commit"]) == 40
    assert recorded["branch"] == "trunk"
    assert recorded["dirty"] is False

    (repository / "train.py").write_text("print(2)\n")
    (repository / "sub").mkdir()

    assert source.describe_source(str(repository / "sub"))["dirty"] is True


def test_a_repository_without_a_commit_has_none(tmp_path):
    git(tmp_path, "init", "-q")

    assert source.describe_source(str(tmp_path))["commit"] is None


def test_outside_a_repository_nothing_is_recorded(tmp_path):
    assert source.describe_source(str(tmp_path)) is None
    assert launch(JobSpec(command=("true",), cwd=str(tmp_path)), tmp_path).files == {}


def test_a_git_that_hangs_or_is_missing_fails_no_launch(repository, tmp_path, monkeypatch):
    slow = executable(tmp_path / "bin" / "git")
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(source, "GIT_SECONDS", 0.2)

    assert "did not answer" in source.describe_source(str(repository))["note"]

    slow.write_text("#!/bin/sh\necho spoilt >&2\nexit 128\n")

    assert source.describe_source(str(repository))["note"] == "spoilt"

    monkeypatch.setenv("PATH", str(tmp_path))

    assert "can't be run" in source.describe_source(str(repository))["note"]


def test_an_unknown_recipe_is_refused_and_the_known_ones_named():
    with pytest.raises(InvalidRequest, match=r"Did you mean 'finetune'\? Known are command, finetune"):
        registry.get("finetun")


def test_a_recipe_is_loaded_once_and_when_asked_for():
    assert registry.get("command") is registry.get("command")
    assert registry.names() == ["command", "finetune"]


def test_a_plug_in_that_can_t_be_loaded_is_named(monkeypatch):
    broken = EntryPoint(name="broken", value="no_such_module:Recipe", group=registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [broken])

    with pytest.raises(InvalidRequest, match="'broken' is installed and can't be loaded"):
        registry.get("broken")


def test_a_command_really_runs_in_the_named_environment(tmp_path):
    made = launch(JobSpec(command=("python", "-c", "import sys; print(sys.prefix)"), python=sys.prefix), tmp_path)
    done = subprocess.run(made.argv, env=made.env, cwd=made.cwd, capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout.strip() == sys.prefix
