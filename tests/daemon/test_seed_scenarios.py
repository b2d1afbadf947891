"""The scenarios that the original's plan asked for, with a real server and real processes."""

import os
import signal
import time

import pytest

from tests.daemon.given_jobs import (
    HANGS_AFTER_PROGRESS,
    REPORTS,
    all_lines,
    living,
    moves,
    python,
    status,
    submit,
    wait_for,
    wait_for_step,
)
from tests.server import running_server
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Give one server to all tests of this file; each leaves its queue empty."""
    with running_server(tmp_path_factory.mktemp("seed") / "home") as running:
        yield running


def test_s1_a_normal_run_completes_and_no_timer_fires(server):
    job_id = submit(server, python(REPORTS, 5, 0.05), limits={"stall_seconds": 5, "time_limit_seconds": 60})
    job = wait_for(server, job_id, "completed")

    assert (job["exit_code"], job["signal"], job["error"], job["stop_request"]) == (0, None, None, None)
    assert job["current_step"] == 5
    assert job["progress"] == 100.0
    assert moves(server, job_id) == [("queued", "pending"), ("pending", "running"), ("running", "completed")]


def test_s2_a_killed_trainer_fails_by_itself_within_a_second(server):
    job_id = submit(server, python("import time; time.sleep(600)"))
    pid = wait_until(lambda: wait_for(server, job_id, "running")["process_pid"])
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    job = wait_until(lambda: (found := status(server, job_id))["status"] == "failed" and found)

    assert time.monotonic() - began < 1.0
    assert (job["reason"], job["signal"], job["exit_code"]) == ("signalled", 9, None)
    assert "SIGKILL" in job["error"]


def test_s3_a_hung_trainer_is_ended_with_the_sentence_of_the_original(server):
    limits = {"stall_seconds": 1, "grace_seconds": 1}
    job_id = submit(server, python(HANGS_AFTER_PROGRESS, "hung-s3"), limits=limits)
    job = wait_until(lambda: (found := status(server, job_id))["status"] == "failed" and found)
    server.restart()

    assert job["error"] == job["error_message"] == "Training timed out - no progress for 1 second"
    assert job["reason"] == "stalled"
    assert job["watched_by"] == "progress.json"
    assert job["completed_at"] is not None
    assert living("hung-s3") == []
    assert status(server, job_id) == job


def test_s3_a_hung_trainer_shows_its_stacks_in_the_history(server):
    limits = {"stall_seconds": 0.5, "grace_seconds": 1}
    job_id = submit(server, python(HANGS_AFTER_PROGRESS), limits=limits)
    wait_until(lambda: status(server, job_id)["status"] == "failed")
    notes = [event["data"] for event in server.get(f"/api/training/{job_id}/events").body["events"]]

    assert any(note.get("note") == "stacks" for note in notes)


def test_s4_a_slow_evaluation_that_advances_is_never_timed_out(server):
    code = """
    import json, os, time
    file = open(os.path.join(os.environ["STOKER_RUN_DIR"], "metrics.jsonl"), "a", buffering=1)
    file.write('{"kind": "phase", "phase": "evaluating"}\\n')
    for done in range(12):
        file.write(json.dumps({"kind": "eval", "done": done, "total": 12}) + "\\n")
        time.sleep(0.5)
    """
    job_id = submit(server, python(code), limits={"stall_seconds": 2})
    job = wait_for(server, job_id, "completed")

    assert job["reason"] is None


def test_s5_to_cancel_what_is_unknown_answers_404(server):
    answer = server.post("/api/training/cancel/nobody", {})

    assert answer.status == 404


@pytest.mark.parametrize(("code", "ends"), [("pass", "completed"), ("raise SystemExit(3)", "failed")])
def test_s5_to_cancel_what_has_ended_answers_409_and_changes_nothing(server, code, ends):
    job_id = submit(server, python(code))
    wait_until(lambda: status(server, job_id)["status"] == ends)
    before = status(server, job_id)
    answer = server.post(f"/api/training/cancel/{job_id}", {})

    assert answer.status == 409
    assert (answer.body["success"], answer.body["previous_status"], answer.body["job_id"]) == (False, ends, job_id)
    assert answer.body["message"]
    assert status(server, job_id) == before


def test_s5_a_queued_job_leaves_the_queue_when_cancelled_and_twice_is_harmless(server):
    holder = submit(server, python("import time; time.sleep(600)"))
    job_id = submit(server, python("pass"))
    first = server.post(f"/api/training/cancel/{job_id}", {})
    second = server.post(f"/api/training/cancel/{job_id}", {})

    assert (first.status, first.body["previous_status"], first.body["success"]) == (200, "queued", True)
    assert (second.status, second.body["previous_status"], second.body["success"]) == (200, "cancelled", True)
    assert status(server, job_id)["status"] == "cancelled"
    assert status(server, job_id)["attempt"] == 0
    server.post(f"/api/training/cancel/{holder}", {})
    wait_for(server, holder, "cancelled")


@pytest.mark.parametrize("milliseconds", [0, 5, 10, 20, 30, 40, 60, 80, 120])
def test_s5_od12_a_cancel_at_any_point_of_the_start_sticks(server, milliseconds):
    tag = f"tag-od12-{milliseconds}-{os.getpid()}"
    job_id = submit(server, python("import time; time.sleep(600)", tag))
    time.sleep(milliseconds / 1e3)  # the points of the start lie so far apart
    answer = server.post(f"/api/training/cancel/{job_id}", {})
    job = wait_for(server, job_id, "cancelled")

    assert answer.status == 200
    assert answer.body["previous_status"] in ("queued", "pending", "running")
    assert living(tag) == []
    assert job["attempt"] <= 1


def test_s5_a_running_job_that_ignores_sigterm_is_gone_after_the_grace_period(server):
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    job_id = submit(server, python(code, "tag-s5"), limits={"grace_seconds": 0.5})
    wait_until(lambda: "deaf" in all_lines(server, job_id))
    wait_for(server, job_id, "running")
    began = time.monotonic()
    answer = server.post(f"/api/training/cancel/{job_id}", {})
    job = wait_for(server, job_id, "cancelled")

    assert 0.4 < time.monotonic() - began < 5.0
    assert (answer.status, answer.body["previous_status"]) == (200, "running")
    assert living("tag-s5") == []
    assert job["reason"] is None


def test_s7_a_cancel_without_any_gpu_says_that_there_was_none_to_verify(server):
    job_id = submit(server, python("import time; time.sleep(600)"))
    wait_for(server, job_id, "running")
    server.post(f"/api/training/cancel/{job_id}", {})
    job = wait_for(server, job_id, "cancelled")

    assert job["gpu_receipt"]["state"] == "no_gpu"


@pytest.mark.parametrize("how", ["hangs", "is killed"])
def test_s8_the_second_job_starts_when_the_first_hangs_or_is_killed(server, how):
    first = submit(server, python(HANGS_AFTER_PROGRESS), limits={"stall_seconds": 1, "grace_seconds": 1})
    second = submit(server, python("print('second ran')"))
    pid = wait_until(lambda: wait_for(server, first, "running")["process_pid"])
    if how == "is killed":
        os.kill(pid, signal.SIGKILL)
    wait_for(server, second, "completed")
    job = status(server, first)

    assert job["status"] == "failed"
    assert job["reason"] == ("stalled" if how == "hangs" else "signalled")
    assert all_lines(server, second) == ["second ran"]


def test_s9_the_third_job_starts_after_the_first_when_the_second_was_cancelled(server):
    first = submit(server, python("import time; time.sleep(1)"))
    second, third = submit(server, python("pass")), submit(server, python("pass"))
    server.post(f"/api/training/cancel/{second}", {})
    ended = wait_for(server, third, "completed")

    assert status(server, first)["status"] == "completed"
    assert status(server, second)["status"] == "cancelled"
    assert ended["started_at"] >= status(server, first)["completed_at"]


@pytest.mark.parametrize(
    "content", ["", "{", '{"current_step": ', "[1, 2]", "\\x00\\xff", '{"current_step": NaN}', "[" * 100_000]
)
def test_s10_a_bad_progress_file_never_fails_a_healthy_job(server, content):
    code = """
    import os, sys, time
    path = os.path.join(os.environ["STOKER_RUN_DIR"], "progress.json")
    for _ in range(5):
        with open(path, "w") as file:
            file.write(sys.argv[1] if sys.argv[1] != "deep" else "[" * 100_000)
        time.sleep(0.1)
    """
    shown = "deep" if len(content) > 1000 else content
    job_id = submit(server, python(code, shown))
    job = wait_for(server, job_id, "completed")

    assert job["exit_code"] == 0


def test_s11_health_tells_of_server_store_queue_and_gpus_in_milliseconds(server):
    began = time.monotonic()
    answers = [server.get("/health") for _ in range(20)]
    each = (time.monotonic() - began) / 20
    body = answers[0].body

    assert all(answer.status == 200 for answer in answers)
    assert each < 0.1
    assert (body["status"], body["store"], body["gpus"]["count"], body["gpus"]["names"]) == ("healthy", "ok", 0, [])
    assert body["version"]
    assert body["queue"]["queued"] == 0


def test_s12_a_restart_loses_nothing_and_runs_nothing_twice(server, tmp_path):
    marks = tmp_path / "marks"
    code = f"open({str(marks)!r}, 'a').write('x'); import time; time.sleep(1.5)"
    running = submit(server, python(code), name="running")
    waiting = [submit(server, python("pass"), name=f"waiting {n}", priority=n) for n in range(3)]
    ended_order = list(reversed(waiting))
    wait_for(server, running, "running")
    before = server.get("/api/training/queue").body["queued_jobs"]
    server.kill9()
    server.start()
    after = server.get("/api/training/queue").body["queued_jobs"]
    job = wait_for(server, running, "completed")
    ended = [wait_for(server, one, "completed") for one in ended_order]

    assert [one["job_id"] for one in before] == [one["job_id"] for one in after] == ended_order
    assert marks.read_text() == "x"
    assert (job["attempt"], job["exit_code"]) == (1, 0)
    assert [one["started_at"] for one in ended] == sorted(one["started_at"] for one in ended)


def test_progress_age_and_heartbeat_are_told_of_a_running_job(server):
    job_id = submit(server, python(REPORTS, 100, 0.1))
    job = wait_for_step(server, job_id, 3)
    server.post(f"/api/training/cancel/{job_id}", {})
    wait_for(server, job_id, "cancelled")

    assert job["watched_by"] == "callback"
    assert 0 <= job["progress_age_seconds"] < 5
    assert job["supervisor_pid"] not in (None, job["process_pid"])
