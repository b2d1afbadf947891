"""The demonstration: it holds what it claims, and a claim that is false is seen to be."""

import json
import os
import subprocess
import sys
import time

import pytest

from stoker.cli import demo_tree
from stoker.cli.demo_proofs import Restart, claim_learning, claim_loss, claim_no_gap, claim_survival, sparkline
from stoker.cli.demo_server import DemoFailed
from stoker.rundir.identity import ProcessId, all_pids, read_proc
from stoker.store.home import lock_home
from tests.waiting import wait_until

BEFORE = {"process_pid": 7, "attempt": 1, "current_step": 10}


def points(steps, attempt=1):
    return [{"seq": n, "attempt": attempt, "step": step, "loss": 1.0} for n, step in enumerate(steps)]


def restart(after, *, alive=True):
    return Restart(
        trainer=ProcessId("boot", 7, 1), before=BEFORE, after={**BEFORE, **after}, away_seconds=2.0, ready_seconds=0.5,
        trained_meanwhile=alive,
    )  # fmt: skip


def test_learning_is_claimed_only_beyond_chance_and_nine_in_ten():
    assert claim_learning(0.1, 0.0, 0.95, 400).held
    assert not claim_learning(0.1, 0.0, 0.9, 400).held
    assert not claim_learning(0.1, 0.95, 0.96, 400).held


def test_a_loss_that_did_not_fall_is_no_proof():
    assert claim_loss([4.0, 2.0, 1.0]).held
    assert not claim_loss([4.0, 3.0]).held
    assert not claim_loss([]).held


def test_a_gap_a_repetition_and_a_second_attempt_are_seen():
    assert claim_no_gap(points([1, 2, 3]), 3).held
    assert not claim_no_gap(points([1, 3]), 3).held
    assert not claim_no_gap(points([1, 2, 2, 3]), 3).held
    assert not claim_no_gap(points([1, 2]), 3).held
    assert not claim_no_gap([*points([1, 2]), {"seq": 2, "attempt": 2, "step": 3, "loss": 1.0}], 3).held
    assert not claim_no_gap([], 3).held


def test_survival_needs_the_same_trainer_and_later_steps():
    assert claim_survival(restart({"current_step": 20})).held
    assert not claim_survival(restart({})).held
    assert not claim_survival(restart({"current_step": 20, "process_pid": 8})).held
    assert not claim_survival(restart({"current_step": 20, "attempt": 2})).held
    assert not claim_survival(restart({"current_step": 20}, alive=False)).held


def test_a_sparkline_shows_the_shape():
    assert sparkline([3.0, 2.0, 1.0]) == "█▅▁"
    assert sparkline([1.0, 1.0]) == "▁▁"
    assert len(sparkline([float(n) for n in range(1000)])) == 40
    assert sparkline([]) == ""


def test_the_tree_that_resists_really_resists(tmp_path):
    path = tmp_path / "pids"
    process = subprocess.Popen([sys.executable, demo_tree.__file__, str(path)], start_new_session=True)
    pids = []
    try:
        wait_until(lambda: path.exists() and len(path.read_text().splitlines()) == demo_tree.PROCESSES, 20)
        pids = [int(line.split()[0]) for line in path.read_text().splitlines()]
        os.killpg(process.pid, 15)
        time.sleep(0.3)  # what would end by SIGTERM has ended by then

        assert set(pids) <= set(all_pids())
        assert len({os.getsid(pid) for pid in pids}) == 3
        assert sum(read_proc(f"{pid}/environ") == b"" for pid in pids) == 1
    finally:
        for pid in {process.pid, *pids}:
            os.kill(pid, 9)
        process.wait(10)


def test_a_demonstration_that_can_not_be_prepared_says_why(tmp_path):
    from stoker.cli.demo import material  # noqa: PLC0415 - as the command imports it

    (tmp_path / "file").write_text("")
    with pytest.raises(DemoFailed, match="could not prepare its model: NotADirectoryError"):
        material("prepare", tmp_path / "file" / "material", "1")


def test_a_demonstration_on_a_home_that_is_held_says_so_and_fails(tmp_path):
    argv = [sys.executable, "-m", "stoker.cli.main", "demo", "--home", str(tmp_path)]
    with lock_home(tmp_path / "home"):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False, cwd=tmp_path)

    assert done.returncode == 1
    assert "The server ended at its start" in done.stderr
    assert f"pid {os.getpid()}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.timeout(600)
def test_the_demonstration_holds_what_it_claims_and_leaves_nothing_running(tmp_path):
    folder = tmp_path / "demo"
    argv = [sys.executable, "-m", "stoker.cli.main", "demo", "--json", "--seed", "2", "--home", str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=580, check=False, cwd=tmp_path)

    assert done.returncode == 0, done.stderr + done.stdout
    answer = json.loads(done.stdout)
    assert answer["held"] is True
    assert len(answer["claims"]) == 5
    assert all(claim["held"] for claim in answer["claims"])
    assert os.path.exists(os.path.join(answer["model"], "model.safetensors"))
    assert "Killing the server" in done.stderr
    mark = str(folder).encode()
    assert not [pid for pid in all_pids() if mark in read_proc(f"{pid}/cmdline") + read_proc(f"{pid}/environ")]
