"""The server may die at any moment: jobs train on, and nothing that was acknowledged is lost or run twice."""

import concurrent.futures
import os
import random
import signal
import threading
import time

import pytest

from stoker.rundir.identity import ProcessId, boot_id, is_alive, read_stat
from tests.daemon.given_jobs import (
    REPORTS,
    all_lines,
    all_metrics,
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

KILLS = int(os.environ.get("STOKER_KILLS", "20"))
SUBMISSIONS = int(os.environ.get("STOKER_SUBMISSIONS", "60"))
COMPLETE = [("queued", "pending"), ("pending", "running"), ("running", "completed")]


@pytest.mark.timeout(300)
def test_a_server_killed_in_a_tight_loop_is_noticed_by_no_job(tmp_path):
    steps = 100 + 10 * KILLS
    with running_server(tmp_path / "home", "--slots", "3") as server:
        job_ids = [submit(server, python(REPORTS, steps, 0.1)) for _ in range(3)]
        pids = [wait_for_step(server, job_id, 2)["process_pid"] for job_id in job_ids]
        for _ in range(KILLS):
            server.kill9()
            server.start()
        ended = [wait_for(server, job_id, "completed", seconds=120) for job_id in job_ids]

        for job_id, job, pid in zip(job_ids, ended, pids, strict=True):
            steps_seen = [point["step"] for point in all_metrics(server, job_id) if point["kind"] == "step"]

            assert (job["attempt"], job["exit_code"], job["attempts_lost"]) == (1, 0, 0)
            assert moves(server, job_id) == COMPLETE
            assert steps_seen == list(range(1, steps + 1))
            assert [point["seq"] for point in all_metrics(server, job_id)] == list(range(len(steps_seen)))
            assert all_lines(server, job_id) == [f"step {step}" for step in range(1, steps + 1)]
            assert pid is not None


@pytest.mark.timeout(300)
def test_every_acknowledged_submit_exists_and_ran_once_under_random_kills(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    code = f"import os, sys; open({str(marks)!r} + '/' + sys.argv[1], 'a').write('x')"
    rng = random.Random(7)
    with running_server(tmp_path / "home", "--slots", "4") as server:
        acknowledged = _submit_under_kills(server, code, rng)
        ended = [wait_for(server, job_id, "completed", seconds=120) for job_id in acknowledged]

    assert len(acknowledged) == SUBMISSIONS
    assert {job["exit_code"] for job in ended} == {0}
    assert {mark.name: mark.read_text() for mark in marks.iterdir()} == dict.fromkeys(acknowledged, "x")


def _submit_under_kills(server, code: str, rng: random.Random) -> list[str]:
    """Submit with retries by id while another thread kills the server; give the ids that were acknowledged."""
    done, acknowledged = threading.Event(), []

    def kill() -> None:
        while not done.wait(rng.uniform(0.1, 0.6)):
            server.kill9()
            server.start()

    def submit_one(number: int) -> str:
        job_id = f"sub-{number}"
        body = {"recipe": "command", "command": python(code, job_id), "execution_id": job_id}
        wait_until(lambda: _accepted(server, body), 60, f"an answer to {job_id}")
        return job_id

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            acknowledged = list(pool.map(submit_one, range(SUBMISSIONS)))
    finally:
        done.set()
        killer.join()
    return acknowledged


def _accepted(server, body: dict) -> bool:
    try:
        return server.post("/api/training/execute", body).status == 200
    except OSError:
        time.sleep(0.02)
        return False


def test_a_job_that_ends_while_the_server_is_down_is_completed_and_the_next_starts_at_once(tmp_path):
    """OD11, OD4: a trainer that prints goes on without its server, and its end is found."""
    with running_server(tmp_path / "home") as server:
        first, second = submit(server, python(REPORTS, 10, 0.05)), submit(server, python("print('next')"))
        pid = wait_for_step(server, first, 1)["process_pid"]
        server.kill9()
        wait_until(lambda: read_stat(pid) is None)
        server.start()
        began = time.monotonic()
        job = wait_for(server, first, "completed")
        wait_for(server, second, "completed")

        assert time.monotonic() - began < 3.0
        assert job["exit_code"] == 0
        assert all_lines(server, first) == [f"step {step}" for step in range(1, 11)]


@pytest.mark.parametrize("verb", ["cancel", "pause"])
def test_od10_verbs_give_the_same_results_after_a_restart(tmp_path, verb):
    with running_server(tmp_path / "home") as server:
        job_id = submit(server, python("import time; time.sleep(600)", "tag-od10"))
        wait_for(server, job_id, "running")
        server.kill9()
        server.start()
        answer = server.post(f"/api/training/{verb}/{job_id}", {})
        wait_for(server, job_id, "cancelled" if verb == "cancel" else "paused")

        assert (answer.status, answer.body["previous_status"]) == (200, "running")
        assert living("tag-od10") == []


def test_a_stop_that_was_acknowledged_is_carried_out_though_the_server_dies_at_once(tmp_path):
    with running_server(tmp_path / "home") as server:
        job_id = submit(server, python("import time; time.sleep(600)", "tag-stop"))
        wait_for(server, job_id, "running")
        server.post(f"/api/training/cancel/{job_id}", {})
        server.kill9()
        server.start()
        wait_for(server, job_id, "cancelled")

        assert living("tag-stop") == []


def test_od20_stopping_the_server_leaves_jobs_alone_and_is_quick(tmp_path):
    with running_server(tmp_path / "home") as server:
        job_id = submit(server, python(REPORTS, 30, 0.1))
        pid = wait_for_step(server, job_id, 1)["process_pid"]
        began = time.monotonic()
        server.stop()
        took = time.monotonic() - began
        who = ProcessId(boot_id(), pid, read_stat(pid).start)

        assert took < 10.0
        assert is_alive(who)

        server.start()

        assert wait_for(server, job_id, "completed")["attempt"] == 1


def test_od16_a_job_whose_supervisor_was_killed_is_cleared_tried_again_and_not_charged(tmp_path):
    marks = tmp_path / "marks"
    code = f"""
    import time
    with open({str(marks)!r}, "a+") as file:
        file.write("x")
    time.sleep(1 if len(open({str(marks)!r}).read()) > 1 else 600)
    """
    with running_server(tmp_path / "home") as server:
        job_id = submit(server, python(code, "tag-lost"))
        job = wait_for(server, job_id, "running")
        wait_until(marks.exists)
        os.kill(job["supervisor_pid"], signal.SIGKILL)
        wait_until(lambda: status(server, job_id)["status"] == "queued")
        queued = status(server, job_id)

        assert living("tag-lost") == []
        assert "after attempt 1 was lost" in queued["waiting_reason"]
        assert queued["attempts_lost"] == 1

        server.post(f"/api/training/{job_id}/force-start", {})
        ended = wait_for(server, job_id, "completed")

        assert (ended["attempt"], ended["exit_code"]) == (2, 0)
        assert ("running", "queued") in moves(server, job_id)


def test_a_stopped_supervisor_is_no_reason_to_fail_its_job(tmp_path):
    with running_server(tmp_path / "home") as server:
        job_id = submit(server, python(REPORTS, 20, 0.1))
        job = wait_for_step(server, job_id, 1)
        os.kill(job["supervisor_pid"], signal.SIGSTOP)
        server.kill9()
        server.start()
        ended = wait_for(server, job_id, "completed")

        assert (ended["attempt"], ended["attempts_lost"]) == (1, 0)


def test_a_second_server_on_one_home_is_refused_and_the_first_goes_on(tmp_path):
    with running_server(tmp_path / "home") as server:
        other = server.second()

        assert other.returncode == 73
        assert str(server.pid) in other.stderr
        assert server.get("/health").status == 200
