"""The trainer as a process of its own: how it ends when it is stopped, terminated, misled or starved."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from stoker.rundir.checkpoints import verify
from stoker.trainer import early_stop
from tests.trainer.given_trainer import ask_to_stop, of_kind, python, read_lines, read_outcome
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(150)

ENDLESS = {"max_steps": 100_000, "use_lora": False, "save_strategy": "no"}


def kinds(run):
    return [line["kind"] for line in read_lines(run)]


def test_a_trainer_that_is_terminated_saves_within_the_grace_period_and_resumes(make_job, process):
    job = make_job(**ENDLESS)
    child, run = process(job.start())
    wait_until(lambda: of_kind(run, "step"), 90)
    asked = time.monotonic()
    child.send_signal(signal.SIGTERM)
    code = child.wait(30)
    taken = time.monotonic() - asked
    outcome = read_outcome(run)
    print(f"SIGTERM to gone: {taken:.2f} s")

    assert code == early_stop.EXIT_STOPPED
    assert (outcome["outcome"], outcome["reason"], outcome["error"]) == ("stopped", None, None)
    assert outcome["step"] == of_kind(run, "step")[-1]["step"]
    assert outcome["checkpoint"] == of_kind(run, "checkpoint")[-1]["path"]
    assert verify(outcome["checkpoint"]) is None
    assert kinds(run)[0] == "hello"
    assert kinds(run)[-1] == "done"


def test_a_trainer_that_is_asked_to_stop_saves_and_one_that_is_resumed_completes(make_job, process):
    job = make_job(max_steps=20, use_lora=True, gradient_accumulation_steps=12)
    child, run = process(job.start())
    wait_until(lambda: of_kind(run, "step"), 90)
    ask_to_stop(run)

    assert child.wait(60) == early_stop.EXIT_STOPPED

    stopped = read_outcome(run)
    child, run = process(job.start(resume_from=stopped["checkpoint"]))

    assert child.wait(90) == 0

    outcome = read_outcome(run)

    assert (outcome["outcome"], outcome["step"], outcome["model"]) == ("completed", 20, job.output)
    assert "adapter_model.safetensors" in os.listdir(job.output)
    assert [line["step"] for line in of_kind(run, "step")] == list(range(stopped["step"] + 1, 21))
    assert kinds(run)[-1] == "done"


def test_a_trainer_whose_data_went_bad_fails_with_the_row_and_a_trace_in_its_log(make_job, process):
    job = make_job()
    launch, run = job.prepare()
    (job.root / "rows.jsonl").write_text('{"text": "a"}\n{"text": 1}\n')
    done = subprocess.run(
        launch.argv, env=dict(launch.env), cwd=launch.cwd, capture_output=True, timeout=90, check=False
    )
    outcome = read_outcome(run)

    assert done.returncode == 1
    assert (outcome["outcome"], outcome["reason"]) == ("failed", "bad_data")
    assert "Row 2: `text` is a number, not a text" in outcome["error"]
    assert b"Traceback" in done.stderr


def test_a_trainer_in_an_interpreter_without_the_packages_says_which_is_missing(make_job):
    job = make_job()
    launch, run = job.prepare()
    elsewhere = os.path.join(os.path.dirname(early_stop.__file__), "elsewhere.py")
    done = python("-I", "-S", elsewhere, run)
    outcome = read_outcome(run)

    assert done.returncode == 1
    assert outcome["outcome"] == "failed"
    assert f"The interpreter {sys.executable} lacks the module 'numpy'" in outcome["error"]
    assert kinds(run)[:2] == ["hello", "phase"]
    assert launch.argv[-1] == run


def test_a_run_folder_without_orders_is_said_so(tmp_path):
    done = python("-m", "stoker.trainer", str(tmp_path))

    assert done.returncode == 1
    assert "config.json" in read_outcome(tmp_path)["error"]

    (tmp_path / "config.json").write_text("{}")
    python("-m", "stoker.trainer", str(tmp_path))

    assert "it must come from the recipe 'finetune'" in read_outcome(tmp_path)["error"]
    assert python("-m", "stoker.trainer").returncode == 2


LOADING = """
    import hashlib, sys, time
    from stoker.trainer.early_stop import EarlyStop
    from stoker.trainer.reporter import Reporter
    reporter = Reporter(sys.argv[1])
    reporter.catch_terminate()
    early = EarlyStop(reporter, "/c/checkpoint-4", 4)
    early.begin()
    reporter.hello(can_save=True)
    if sys.argv[2] == "over":
        early.end()
        early.end()
    if sys.argv[2] == "in C":
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", 50_000_000)  # one call of many seconds, deaf to signals
    end = time.monotonic() + 3
    while time.monotonic() < end:
        time.sleep(0.01)
"""


def start_loading(tmp_path, how):
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(LOADING), str(tmp_path), how])
    wait_until(lambda: read_lines(tmp_path), 20)
    return child, str(tmp_path)


@pytest.mark.parametrize("how", ["in Python", "in C"])
@pytest.mark.parametrize("ask", ["by file", "by SIGTERM"])
def test_a_stop_while_loading_ends_at_once_and_names_the_checkpoint_it_came_from(tmp_path, process, how, ask):
    child, run = process(start_loading(tmp_path, how))
    asked = time.monotonic()
    if ask == "by file":
        ask_to_stop(run)
    else:
        child.send_signal(signal.SIGTERM)
    code = child.wait(15)

    assert code == early_stop.EXIT_STOPPED
    assert time.monotonic() - asked < 5
    assert read_outcome(run) == {
        "outcome": "stopped", "reason": None, "error": None, "step": 4, "checkpoint": "/c/checkpoint-4",
    }  # fmt: skip
    assert kinds(run) == ["hello", "done"]


def test_once_training_has_begun_a_stop_is_the_callback_s_affair(tmp_path, process):
    child, run = process(start_loading(tmp_path, "over"))
    ask_to_stop(run)

    assert child.wait(15) == 0
    assert read_outcome(run) is None
