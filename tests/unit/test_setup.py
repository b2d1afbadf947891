"""What the setup asks of a machine: only for the tests does it want a compiler and git."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "setup.sh"
TOOLS = ("sh", "dirname", "cat", "cksum", "sed", "printf")


@pytest.mark.parametrize(("words", "code"), [((), 0), (("test",), 1)])
def test_only_the_tests_need_a_compiler_and_git(tmp_path, words, code):
    programs, root = tmp_path / "bin", tmp_path / "root"
    (root / "scripts").mkdir(parents=True)
    (root / ".venv" / "bin").mkdir(parents=True)
    programs.mkdir()
    shutil.copy(SCRIPT, root / "scripts")
    for name in ("pyproject.toml", "constraints.txt"):
        (root / name).write_text("torch==1\n")
    for name in TOOLS:
        (programs / name).symlink_to(shutil.which(name))
    put(programs / "id", "echo 1000")
    put(programs / "python3", 'case "$*" in *print*) echo "(3, 13)";; esac; exit 0')
    put(root / ".venv" / "bin" / "python", "exit 0")
    done = subprocess.run(
        [programs / "sh", "scripts/setup.sh", *words], cwd=root, env={"PATH": str(programs)}, capture_output=True,
        text=True, timeout=30, check=False,
    )  # fmt: skip

    assert done.returncode == code, done.stderr
    assert ("apt-get install" in done.stderr) == bool(code)


def put(path, text):
    path.write_text(f"#!{shutil.which('sh')}\n{text}\n")
    os.chmod(path, 0o755)
