"""What a supervisor costs: memory, idle processor time, and nothing loaded later."""

import os
import shutil
import subprocess
import sys
import time

import pytest

import stoker
from stoker.rundir.identity import read_proc
from tests.supervisor.attempts import processor_seconds, python
from tests.waiting import wait_until

HEAVY = {"ast", "inspect", "logging", "pathlib", "socket", "subprocess", "threading", "traceback", "typing"}
MOST_KILOBYTES = 12 * 1000


def memory(pid: int, field: bytes) -> int:
    """Give a figure of a process's memory in kilobytes."""
    lines = read_proc(f"{pid}/smaps_rollup").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + b":"))


@pytest.mark.parametrize("count", [1, 10])
def test_a_supervisor_is_small(make_attempt, count):
    attempts = [make_attempt(["sleep", "100"]).start() for _ in range(count)]
    for attempt in attempts:
        attempt.wait_for("executed", 60)
        wait_until(lambda attempt=attempt: attempt.ask("inspect"))
    shares = [memory(attempt.supervisor().pid, b"Pss") for attempt in attempts]
    # All that it has in memory, shared with others or not: its share where no other Python runs is no larger.
    alone = [memory(attempt.supervisor().pid, b"Rss") for attempt in attempts]

    assert max(shares) <= MOST_KILOBYTES, shares
    assert max(alone) <= MOST_KILOBYTES, alone


def test_a_supervisor_stays_small_after_much_news(make_attempt):
    code = """
        import json, os, time
        with open(os.environ["STOKER_RUN_DIR"] + "/metrics.jsonl", "a") as file:
            for step in range(60_000):
                file.write(json.dumps({"kind": "step", "step": step, "loss": 1.0, "more": "x" * 100}) + "\\n")
        print("written", flush=True)
        time.sleep(100)
        """
    attempt = make_attempt(python(code)).start()
    attempt.wait_for_log(b"written")
    attempt.wait_for("reported")
    pid = attempt.supervisor().pid
    seen = os.path.getsize(attempt.run.metrics)
    wait_until(lambda: attempt.vitals()["progress_at"] and seen > 8_000_000)

    assert memory(pid, b"Pss") <= MOST_KILOBYTES + 3000


def test_an_idle_supervisor_uses_next_to_no_processor_time(make_attempt):
    attempt = make_attempt(["sleep", "100"]).start()
    attempt.wait_for("executed")
    pid, began_at = attempt.supervisor().pid, time.monotonic()
    wait_until(lambda: time.monotonic() > began_at + 2)  # the first looks are closer together
    before = processor_seconds(pid)
    wait_until(lambda: time.monotonic() > began_at + 6)

    assert processor_seconds(pid) - before < 0.05 * 4


def test_nothing_heavy_is_loaded(make_attempt):
    attempt = make_attempt(["true"])
    interpreter, *rest = attempt.command
    command = [interpreter, "-X", "importtime", *rest[:-1], "--foreground", rest[-1]]
    done = subprocess.run(command, capture_output=True, timeout=30, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}

    assert "stoker.supervisor.loop" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_a_running_supervisor_survives_the_replacement_of_its_package(make_attempt, tmp_path):
    source = os.path.dirname(stoker.__file__)
    copy = tmp_path / "installed" / "stoker"
    for part in ("", "rundir", "domain", "supervisor"):
        (copy / part).mkdir(parents=True, exist_ok=True)
        for name in os.listdir(os.path.join(source, part)):
            if name.endswith(".py"):
                shutil.copy(os.path.join(source, part, name), copy / part / name)
    attempt = make_attempt(["sleep", "100"])
    program = str(copy / "supervisor" / "__main__.py")
    subprocess.run([sys.executable, "-I", "-S", program, attempt.directory.root], check=True, timeout=30)
    attempt.wait_for("executed")
    shutil.rmtree(copy)
    attempt.report(kind="step", step=1)
    attempt.wait_for("reported")
    attempt.stop("cancelled")
    record = attempt.exit()

    assert (record.stop, record.stop_sent, record.survivors) == ("cancelled", True, ())
    assert attempt.diagnostics == ""
