"""The trainer's hook: what it writes, what it survives, and what it costs."""

import json
import math
import os
import resource
import signal
import statistics
import struct
import sys
import threading
import time
from pathlib import Path

import pytest

from stoker.domain.failure import Reason
from stoker.domain.progress import Phase
from stoker.rundir.durable import replace
from stoker.rundir.layout import RunDir
from stoker.trainer import reporter as hook
from stoker.trainer.reporter import Reporter
from tests.trainer.given_trainer import ask_to_stop, python, read_lines, read_outcome
from tests.waiting import wait_until


@pytest.fixture
def reporter(tmp_path):
    made = Reporter(str(tmp_path))
    yield made
    made.close()


def test_every_kind_of_line_is_numbered_and_carries_both_clocks(reporter, tmp_path):
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    reporter.hello(can_save=True)
    reporter.phase(Phase.PREPARING, done=1, of=2)
    reporter.step(1, 10, 0.1, loss=2.5)
    reporter.eval_progress(1, 4)
    reporter.log({"eval_loss": 1.5, "step": 1})
    reporter.saving(100)
    reporter.checkpoint("/c/checkpoint-1", 1)
    reporter.done("completed")
    lines = read_lines(tmp_path)

    assert [line["kind"] for line in lines] == [
        "hello", "phase", "step", "eval", "metrics", "saving", "checkpoint", "done",
    ]  # fmt: skip
    assert [line["seq"] for line in lines] == list(range(8))
    assert all(before - 1 <= line["t"] <= before + 60 and abs(line["at"] - time.time()) < 60 for line in lines)
    assert lines[0]["pid"] == os.getpid()
    assert (lines[2]["step"], lines[2]["total"], lines[2]["epoch"], lines[2]["loss"]) == (1, 10, 0.1, 2.5)


def test_what_is_no_number_is_null_and_flagged_and_the_line_is_valid_json(reporter, tmp_path):
    reporter.step(1, 2, 0.5, loss=math.nan, grad_norm=math.inf, learning_rate=-math.inf, fine=1.0)
    text = (tmp_path / "metrics.jsonl").read_text()
    line = json.loads(text, parse_constant=pytest.fail)

    assert (line["loss"], line["grad_norm"], line["learning_rate"], line["fine"]) == (None, None, None, 1.0)
    assert line["flags"] == {"loss": "nan", "grad_norm": "inf", "learning_rate": "-inf"}


def test_odd_values_never_raise_into_training(reporter, tmp_path):
    class Scalar:
        def __float__(self):
            return 0.25

    class Broken:
        def __float__(self):
            raise RuntimeError("device-side assert")

    reporter.log({"scalar": Scalar(), "broken": Broken(), "list": [1], "half": "\ud800", "long": "x" * 5000, 3: 4})
    line = read_lines(tmp_path)[0]

    assert line["scalar"] == 0.25
    assert (line["broken"], line["list"]) == ("Broken", "list")
    assert len(line["long"]) == 1000
    assert line["3"] == 4


def test_a_second_reporter_goes_on_counting_and_closes_off_a_half_line(tmp_path):
    first = Reporter(str(tmp_path))
    first.hello(can_save=False)
    first.close()
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"seq":1,"half')
    second = Reporter(str(tmp_path))
    second.done("completed")
    second.close()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()

    assert lines[1] == '{"seq":1,"half'
    assert json.loads(lines[2])["seq"] == 1


def test_a_full_disk_loses_lines_but_neither_raises_nor_leaves_a_gap(tmp_path):
    program = (
        "import resource, signal, sys; from stoker.trainer.reporter import Reporter\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "r = Reporter(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))\n"
        "[r.step(n, 100, None) for n in range(100)]\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "r.done('completed')\n"
    )
    done = python("-c", program, str(tmp_path))
    whole = []
    for text in (tmp_path / "metrics.jsonl").read_text().splitlines():
        try:
            whole.append(json.loads(text))
        except ValueError:
            continue

    assert (done.returncode, done.stderr) == (0, "")
    assert whole[-1]["kind"] == "done"
    assert [line["seq"] for line in whole] == list(range(len(whole)))
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY


def test_threads_may_report_at_once(reporter, tmp_path):
    def report():
        for number in range(200):
            reporter.saving(number)

    threads = [threading.Thread(target=report) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]

    assert [line["seq"] for line in read_lines(tmp_path)] == list(range(800))


def test_a_forked_child_is_silent(reporter, tmp_path):
    reporter.hello(can_save=True)
    child = os.fork()
    if child == 0:
        reporter.done("completed")
        os._exit(0 if reporter.write_outcome("completed") is False else 1)
    _, status = os.waitpid(child, 0)

    assert status == 0
    assert [line["kind"] for line in read_lines(tmp_path)] == ["hello"]
    assert read_outcome(tmp_path) is None


def test_a_run_folder_that_is_gone_disturbs_nothing(tmp_path, capfd):
    made = Reporter(str(tmp_path / "gone"))
    made.step(1, 2, 0.5, loss=1.0)

    assert made.stop_requested() is None
    assert made.write_outcome("completed") is False
    assert "so nothing is reported" in capfd.readouterr().err
    made.close()


def test_the_heartbeat_beats_beside_a_busy_main_thread(tmp_path, monkeypatch):
    monkeypatch.setattr(hook, "BEAT_SECONDS", 0.02)
    made = Reporter(str(tmp_path))

    def beat():
        return struct.unpack("<d", (tmp_path / "beat").read_bytes())[0]

    first = beat()
    wait_until(lambda: beat() > first + 0.05, 10)
    made.close()

    assert abs(beat() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 30


def test_a_stop_request_is_seen_once_it_is_whole_and_stays(reporter, tmp_path):
    assert reporter.stop_requested() is None

    (tmp_path / "control.json").write_text('{"stop": "canc')

    assert reporter.stop_requested() is None

    ask_to_stop(tmp_path, "paused")

    assert reporter.stop_requested() == {"stop": "paused"}

    (tmp_path / "control.json").unlink()

    assert reporter.stop_requested() == {"stop": "paused"}


def test_sigterm_is_a_stop_request_and_is_given_back(reporter):
    before = signal.getsignal(signal.SIGTERM)
    reporter.catch_terminate()
    os.kill(os.getpid(), signal.SIGTERM)

    assert reporter.stop_requested() == {"stop": "terminated"}

    reporter.release_terminate()

    assert signal.getsignal(signal.SIGTERM) is before


def test_the_outcome_is_written_whole_into_space_set_aside(reporter, tmp_path):
    assert os.stat(tmp_path / "outcome.slot").st_size == 4096

    reporter.write_outcome("failed", reason=Reason.DISK_FULL, error="The disk is full", step=3, checkpoint="/c")

    assert read_outcome(tmp_path) == {
        "outcome": "failed", "reason": "disk_full", "error": "The disk is full", "step": 3, "checkpoint": "/c",
    }  # fmt: skip
    assert not (tmp_path / "outcome.slot").exists()


def test_a_long_outcome_is_written_too(reporter, tmp_path):
    reporter.write_outcome("failed", error="x" * 900, model="y" * 6000)

    assert len(read_outcome(tmp_path)["model"]) == 6000


def test_the_stacks_of_all_threads_are_written_on_sigusr1(reporter, tmp_path):
    path = RunDir(str(tmp_path)).stacks(os.getpid())

    assert os.path.getsize(path) == 0

    os.kill(os.getpid(), signal.SIGUSR1)
    names = ("test_the_stacks_of_all_threads_are_written_on_sigusr1", "_beat_on")

    assert wait_until(lambda: all(name in Path(path).read_text() for name in names), 10)


def test_the_hook_needs_the_standard_library_alone():
    program = (
        "import sys, stoker.trainer.reporter; "
        "print([m for m in sys.modules if m.partition('.')[0] not in {*sys.stdlib_module_names, 'stoker', '__main__'}"
        " and not m.startswith(('_', 'distutils'))])"
    )
    done = python("-c", program)

    assert done.stdout.strip() == "[]"


def test_a_progress_call_costs_microseconds(reporter, capsys):
    taken = []
    for number in range(3000):
        begin = time.perf_counter_ns()
        reporter.step(number, 3000, number / 7, loss=1.2345, learning_rate=5e-5, samples_per_second=12.3)
        reporter.stop_requested()
        taken.append((time.perf_counter_ns() - begin) / 1000)
    with capsys.disabled():
        print(
            f"\nprogress call: median {statistics.median(taken):.1f} µs, p99 {sorted(taken)[-30]:.1f} µs",
            file=sys.stderr,
        )

    assert statistics.median(taken) < 500  # ten times the aim: a busy machine is no failure


def test_the_stop_request_of_a_supervisor_is_replaced_whole(tmp_path, reporter):
    replace(RunDir(str(tmp_path)).control, b'{"stop": "cancelled", "who": "x"}')

    assert reporter.stop_requested()["stop"] == "cancelled"
