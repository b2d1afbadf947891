"""Trees that resist are gone when an attempt ends, whichever way they are held."""

import os
import shutil
import sys

import pytest

from stoker.domain.limits import Limits
from stoker.rundir.identity import all_pids, read_proc, read_stat
from tests.supervisor.attempts import PYTHON
from tests.supervisor.unruly import HOP, UNRULY, build_hopper

REPETITIONS = range(3)
HOPPERS = ("python", "c") if shutil.which("cc") or shutil.which("gcc") else ("python",)


@pytest.fixture(scope="session")
def hoppers(tmp_path_factory) -> dict[str, list[str]]:
    """Give the commands of the hopping chains by the language they are in."""
    compiled = build_hopper(tmp_path_factory.mktemp("hopper"))
    return {"python": [sys.executable, "-I", "-S", "-c", HOP], "c": [str(compiled)]}


def living(command: str) -> list[int]:
    """List the living processes with `command` in their command line."""
    found = [pid for pid in all_pids() if command.encode() in read_proc(f"{pid}/cmdline")]
    return [pid for pid in found if (stat := read_stat(pid)) is not None and stat.is_alive]


@pytest.mark.parametrize("hopper", HOPPERS)
@pytest.mark.parametrize("repetition", REPETITIONS)
def test_an_unruly_tree_is_gone_after_a_cancel(make_attempt, hoppers, containment, hopper, repetition):
    tag = f"tag-{os.getpid()}-{hopper}-{containment}-{repetition}"
    limits = Limits(grace_seconds=0.3)
    argv = [*PYTHON, UNRULY + f"# {tag}\n", *hoppers[hopper], tag]
    attempt = make_attempt(argv, limits=limits, containment=containment).start()
    attempt.wait_for_log(b"ready")
    attempt.stop("cancelled")
    record = attempt.exit()

    assert record.survivors == ()
    assert record.stop_sent
    assert record.stop_step == "kill"
    assert record.milliseconds < 1000
    assert living(tag) == []
    assert attempt.marked() == []
