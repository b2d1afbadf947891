"""Jobs for a real server: what they run, how they are asked for, and what is left of them."""

import os
import sys
import textwrap
import time

from stoker.rundir.identity import all_pids, read_proc, read_stat
from tests.waiting import wait_until

TERMINAL = ("completed", "failed", "cancelled")
DATA = os.environ.get("STOKER_TEST_DATA", os.path.join(os.path.dirname(__file__), "..", "..", "..", "shared", "data"))

REPORTS = """
import json, os, sys, time
file = open(os.path.join(os.environ["STOKER_RUN_DIR"], "metrics.jsonl"), "a", buffering=1)
for step in range(1, int(sys.argv[1]) + 1):
    file.write(json.dumps({"kind": "step", "step": step, "total": int(sys.argv[1]), "loss": 1 / step}) + "\\n")
    print("step", step, flush=True)
    time.sleep(float(sys.argv[2]))
"""
"""Takes `argv[1]` steps of `argv[2]` seconds; reports each as a metric and prints a line for it."""

HANGS_AFTER_PROGRESS = """
import json, os, time
path = os.path.join(os.environ["STOKER_RUN_DIR"], "progress.json")
for step in range(1, 4):
    with open(path + ".tmp", "w") as file:
        json.dump({"status": "running", "current_step": step, "total_steps": 100, "updated_at": time.time()}, file)
    os.replace(path + ".tmp", path)
    time.sleep(0.1)
time.sleep(600)
"""
"""Writes the original's progress.json three times, then hangs."""


def python(code: str, *arguments: object) -> list[str]:
    """Give the command that runs `code`, fast to start."""
    return [sys.executable, "-I", "-S", "-u", "-c", textwrap.dedent(code), *map(str, arguments)]


def submit(server, command: list[str], **more) -> str:
    """Submit a command and return its id."""
    answer = server.post("/api/training/execute", {"recipe": "command", "command": command, **more})

    assert answer.status == 200, answer.body
    return answer.body["job_id"]


def status(server, job_id: str) -> dict:
    """Give the job object."""
    answer = server.get(f"/api/training/status/{job_id}")

    assert answer.status == 200, answer.body
    return answer.body


def wait_for(server, job_id: str, *states: str, seconds: float = 60.0) -> dict:
    """Wait until the job is in one of these states, and give it; fail at once if it ended otherwise."""
    end = time.monotonic() + seconds
    while (job := status(server, job_id))["status"] not in states:
        assert job["status"] not in TERMINAL, job
        assert time.monotonic() < end, job
        time.sleep(0.02)
    return job


def wait_for_step(server, job_id: str, step: int, seconds: float = 60.0) -> dict:
    """Wait until the job reports this step, and give it."""
    return wait_until(lambda: _at_step(server, job_id, step), seconds, f"step {step} of {job_id}")


def _at_step(server, job_id: str, step: int) -> dict | None:
    job = status(server, job_id)

    assert job["status"] not in ("failed", "cancelled"), job
    return job if (job["current_step"] or 0) >= step else None


def moves(server, job_id: str) -> list[tuple[str | None, str]]:
    """List the moves of the job as (from, to)."""
    events = server.get(f"/api/training/{job_id}/events").body["events"]

    assert [event["version"] for event in events] == list(range(1, len(events) + 1))
    return [(event["from"], event["to"]) for event in events if event["kind"] == "moved"]


def all_lines(server, job_id: str) -> list[str]:
    """Give the whole log."""
    return server.get(f"/api/training/logs/{job_id}?limit=10000").body["logs"]


def all_metrics(server, job_id: str) -> list[dict]:
    """Give every point of every attempt."""
    return server.get(f"/api/training/metrics/{job_id}").body["metrics"]


def living(tag: str) -> list[int]:
    """List the living processes with `tag` in their command line."""
    found = [pid for pid in all_pids() if pid != os.getpid() and tag.encode() in read_proc(f"{pid}/cmdline")]
    return [pid for pid in found if (stat := read_stat(pid)) is not None and stat.is_alive]


def alive(pid: int) -> bool:
    """Tell whether a process lives; a zombie does not."""
    stat = read_stat(pid)
    return stat is not None and stat.is_alive
