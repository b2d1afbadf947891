"""The original system's defects, each shown not to be here; the numbers are those of the list that was made of it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from stoker.domain.limits import Limits
from stoker.domain.progress import Phase
from stoker.rundir.identity import read_proc, read_stat
from tests.daemon.given_jobs import (
    REPORTS,
    alive,
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

SLEEPS = "import time; time.sleep(600)"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Give one server, far from UTC, to all tests of this file; each leaves its queue empty."""
    home = tmp_path_factory.mktemp("defects") / "home"
    with running_server(home, environment={"TZ": "America/New_York"}) as running:
        yield running


def cancel(server, job_id: str) -> dict:
    """Cancel a job and wait for its end."""
    server.post(f"/api/training/cancel/{job_id}", {})
    return wait_for(server, job_id, "cancelled")


def failed(server, job_id: str) -> dict:
    """Wait until a job has failed, and give it."""
    return wait_until(lambda: (job := status(server, job_id))["status"] == "failed" and job)


def open_files(pid: int) -> list[str]:
    """List what a process holds open; what it closes meanwhile is left out."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


def test_od1_a_cancelled_job_is_cancelled_once_and_stays_so(server):
    job_id = submit(server, python(SLEEPS))
    wait_for(server, job_id, "running")
    job = cancel(server, job_id)
    server.post("/api/training/reconnect", {})
    last = [move for move in moves(server, job_id) if move[1] in ("cancelled", "failed", "completed")]

    assert last == [("running", "cancelled")]
    assert status(server, job_id) == job
    assert (job["reason"], job["error"]) == (None, None)


def test_od6_od21_od32_ended_jobs_are_there_as_they_ended_after_a_restart(server):
    ended = [submit(server, python("pass")), submit(server, python("raise SystemExit(3)"))]
    wait_for(server, ended[0], "completed")
    failed(server, ended[1])
    before = [status(server, job_id) for job_id in ended]
    server.restart()

    assert [status(server, job_id) for job_id in ended] == before
    assert [job["exit_code"] for job in before] == [0, 3]


def test_od7_the_server_holds_neither_torch_nor_a_gpu(server):
    job_id = submit(server, python(SLEEPS))
    wait_for(server, job_id, "running")
    job = cancel(server, job_id)
    server.get("/health")
    held = open_files(server.pid)

    assert b"torch" not in read_proc(f"{server.pid}/maps")
    assert not [path for path in held if "nvidia" in path]
    assert job["gpu_receipt"] is not None


def test_od9_no_process_is_signalled_because_its_command_line_names_a_job(server):
    bystander = subprocess.Popen([sys.executable, "-c", SLEEPS, "job.od9", "job_job.od9"])
    try:
        job_id = submit(server, python(SLEEPS), execution_id="job.od9")
        refused = server.post("/api/training/execute", {"recipe": "command", "command": ["true"], "execution_id": ".*"})
        wait_for(server, job_id, "running")
        cancel(server, job_id)

        assert refused.status == 400
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_od13_a_method_that_could_not_report_progress_is_refused_with_words(server):
    config = {"model": {"name": "any"}, "training": {"method": "rlhf"}}
    answer = server.post("/api/training/execute", {"config": config})

    assert answer.status == 400
    assert any(error["field"] == "config.training.method" and error["remedy"] for error in answer.body["errors"])


def test_od14_times_that_jump_in_a_progress_file_fire_nothing(server):
    code = """
    import json, os, time
    path = os.path.join(os.environ["STOKER_RUN_DIR"], "progress.json")
    for step, jump in enumerate([0, -3600, 3600, 86400, -86400, 0, 0, 0, 0, 0]):
        with open(path + ".new", "w") as file:
            json.dump({"current_step": step, "updated_at": time.time() + jump}, file)
        os.replace(path + ".new", path)
        time.sleep(0.2)
    """
    job_id = submit(server, python(code), limits={"stall_seconds": 1.5})

    assert wait_for(server, job_id, "completed")["watched_by"] == "progress.json"


def test_od15_an_exit_takes_precedence_over_a_stall_limit_that_passed(server):
    job_id = submit(server, python("import time; time.sleep(1)"), limits={"stall_seconds": 1.2})
    job = wait_until(lambda: wait_for(server, job_id, "running")["supervisor_pid"] and status(server, job_id))
    os.kill(job["supervisor_pid"], signal.SIGSTOP)
    wait_until(lambda: read_stat(job["process_pid"]).state == "Z")
    time.sleep(1.5)  # the limit passes while nobody judges
    os.kill(job["supervisor_pid"], signal.SIGCONT)

    assert wait_for(server, job_id, "completed")["exit_code"] == 0


def test_od17_each_phase_has_a_limit_of_its_own():
    limits = Limits()

    assert limits.silence_allowed(Phase.TRAINING) == 600
    assert limits.silence_allowed(Phase.EVALUATING) > 600
    assert limits.silence_allowed(Phase.LOADING) > 600
    assert {Limits(stall_seconds=5).silence_allowed(phase) for phase in Phase} == {5}


def test_od18_a_live_heartbeat_does_not_hide_a_stuck_main_thread(server):
    code = """
    import json, os, struct, threading, time
    run = os.environ["STOKER_RUN_DIR"]
    def beat():
        while True:
            with open(run + "/beat", "wb") as file:
                file.write(struct.pack("<d", time.clock_gettime(time.CLOCK_BOOTTIME)))
            with open(run + "/progress.json.new", "w") as file:
                json.dump({"current_step": 3, "updated_at": time.time()}, file)
            os.replace(run + "/progress.json.new", run + "/progress.json")
            time.sleep(0.1)
    threading.Thread(target=beat, daemon=True).start()
    threading.Event().wait()
    """
    job_id = submit(server, python(code), limits={"stall_seconds": 1.5, "grace_seconds": 1})

    assert failed(server, job_id)["reason"] == "stalled"


def test_od19_death_is_seen_by_the_exit_not_by_a_timer(server):
    job_id = submit(server, python(SLEEPS))
    pid = wait_until(lambda: wait_for(server, job_id, "running")["process_pid"])
    began = time.monotonic()
    os.kill(pid, signal.SIGSEGV)
    job = failed(server, job_id)

    assert time.monotonic() - began < 1.0
    assert (job["signal"], job["reason"]) == (11, "signalled")


def test_od22_a_failed_job_keeps_its_config_and_can_be_started_again(server):
    command = python("raise SystemExit(4)")
    job_id = submit(server, command, name="keeps", limits={"stall_seconds": 30})
    failed(server, job_id)
    answer = server.post(f"/api/training/{job_id}/force-start", {})
    again = answer.body["job_id"]
    job = failed(server, again)

    assert answer.status == 200
    assert again != job_id
    assert (job["retried_from"], job["name"], job["exit_code"]) == (job_id, "keeps", 4)
    assert status(server, job_id)["status"] == "failed"


def test_od23_queued_and_paused_jobs_survive_a_restart_whatever_their_age(server):
    paused = submit(server, python(SLEEPS))
    wait_for(server, paused, "running")
    server.post(f"/api/training/pause/{paused}", {})
    wait_for(server, paused, "paused")
    holder, queued = submit(server, python(SLEEPS)), submit(server, python("pass"))
    wait_for(server, holder, "running")
    server.kill9()
    server.start()
    found = [status(server, job_id)["status"] for job_id in (paused, holder, queued)]
    for job_id in (paused, holder):
        cancel(server, job_id)

    assert found == ["paused", "running", "queued"]
    assert wait_for(server, queued, "completed")["attempt"] == 1


def test_od24_od25_when_a_job_is_completed_its_metrics_are_all_there_once(server):
    job_id = submit(server, python(REPORTS, 300, 0.001))
    wait_for(server, job_id, "completed")
    points = all_metrics(server, job_id)
    kinds = [event["kind"] for event in server.get(f"/api/training/{job_id}/events").body["events"]]

    assert [point["step"] for point in points] == list(range(1, 301))
    assert kinds.count("attempt_ended") == 1
    assert moves(server, job_id)[-1] == ("running", "completed")


def test_od26_a_resume_neither_repeats_the_history_nor_cuts_the_log(server):
    job_id = submit(server, python(REPORTS, 40, 0.1))
    wait_for_step(server, job_id, 3)
    server.post(f"/api/training/pause/{job_id}", {})
    wait_for(server, job_id, "paused")
    lines, points = all_lines(server, job_id), all_metrics(server, job_id)
    server.post(f"/api/training/resume/{job_id}", {})
    wait_for(server, job_id, "completed")
    after = all_metrics(server, job_id)

    assert all_lines(server, job_id)[: len(lines)] == lines
    assert all_lines(server, job_id)[len(lines) :] == [f"step {step}" for step in range(1, 41)]
    assert after[: len(points)] == points
    assert [point["step"] for point in after if point["attempt"] == 2] == list(range(1, 41))


def test_od28_times_are_utc_and_durations_right_wherever_the_server_stands(server):
    job_id = submit(server, python("import time; time.sleep(0.5)"))
    job = wait_for(server, job_id, "completed")
    started, ended = (datetime.fromisoformat(job[name]) for name in ("started_at", "completed_at"))

    assert job["started_at"].endswith("Z")
    assert 0.3 < (ended - started).total_seconds() < 10
    assert abs((datetime.now(UTC) - ended).total_seconds()) < 60


def test_od29_the_errors_of_a_failed_job_are_found(server):
    job_id = submit(server, python("print('ERROR: step 1 is bad'); {}['nothing']"))
    failed(server, job_id)
    found = server.get(f"/api/training/{job_id}/errors").body

    assert found["traceback"]["exception_type"] == "KeyError"
    assert found["error_summary"] == "The training process exited with code 1"
    assert any("step 1 is bad" in error["message"] for error in found["errors"])


def test_od30_what_a_job_leaves_stays_when_its_records_go(server):
    code = "import os; open(os.path.join(os.environ['STOKER_RUN_DIR'], 'note'), 'w').write('x')"
    job_id = submit(server, python(code))
    wait_for(server, job_id, "completed")
    outputs = server.home / "jobs" / job_id / "outputs"
    (outputs / "model.safetensors").write_text("weights")
    server.restart()

    assert (outputs / "model.safetensors").read_text() == "weights"


def test_od34_a_server_that_hangs_does_not_hold_a_trainer_up(server):
    job_id = submit(server, python(REPORTS, 30, 0.05))
    pid = wait_for_step(server, job_id, 1)["process_pid"]
    os.kill(server.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: not alive(pid), 15.0, "the trainer to end while the server hangs")
    finally:
        os.kill(server.pid, signal.SIGCONT)

    assert wait_for(server, job_id, "completed")["current_step"] == 30
    assert len(all_metrics(server, job_id)) == 30


def test_od33_od35_od36_pages_of_a_long_log_cost_little_and_hold_nobody_up(server):
    code = "import sys; sys.stdout.write(''.join(f'line {n} ' + 'x' * 90 + '\\n' for n in range(300_000)))"
    job_id = submit(server, python(code))
    wait_for(server, job_id, "completed")
    path = f"/api/training/logs/{job_id}?limit=50&offset="
    before = _resident(server.pid)
    with ThreadPoolExecutor(8) as pool:
        pages = list(pool.map(lambda offset: server.get(f"{path}{offset}").body, range(0, 290_000, 10_000)))
        health = server.get("/health")

    assert [page["logs"][0].split("x")[0] for page in pages] == [f"line {n} " for n in range(0, 290_000, 10_000)]
    assert {page["total_lines"] for page in pages} == {300_000}
    assert server.get(f"{path}-50").body["logs"][-1].startswith("line 299999 ")
    assert health.status == 200
    assert _resident(server.pid) - before < 60 << 20


def test_od39_a_user_id_is_a_label_and_no_right(server):
    job_id = submit(server, python("pass"), user_id="mallory")
    wait_for(server, job_id, "completed")
    made = server.post("/api/training/keys", {"owner": "mallory", "scopes": ["read", "cancel"]})
    as_mallory = {"Authorization": f"Bearer {made.body['key']}"}

    assert server.get(f"/api/training/status/{job_id}", headers=as_mallory).status == 404
    assert server.post(f"/api/training/cancel/{job_id}", {}, headers=as_mallory).status == 404
    assert server.get("/api/training/jobs", headers=as_mallory).body["jobs"] == []


def test_od42_code_of_a_model_is_not_trusted_because_a_request_says_so(server, tmp_path):
    config = {"model": {"name": str(tmp_path), "trust_remote_code": True}, "training": {"method": "sft"}}
    answer = server.post("/api/training/execute", {"config": config})

    assert answer.status == 400
    assert any("trust_remote_code" in error["field"] for error in answer.body["errors"])


@pytest.mark.parametrize("path", ["/api/filesystem/list", "/api/filesystem/read", "/api/training/validate"])
def test_od43_od51_there_is_no_file_server_and_nothing_invents_metrics(server, path):
    assert server.post(path, {"path": "/etc"}).status in (404, 405)


def test_od50_a_trainer_is_told_who_it_is_by_the_names_that_are_documented(server):
    code = """
    import json, os
    print(json.dumps({name: value for name, value in os.environ.items() if name.startswith("STOKER_")}))
    """
    job_id = submit(server, python(code))
    wait_for(server, job_id, "completed")
    told = json.loads(all_lines(server, job_id)[0])

    assert set(told) == {"STOKER_JOB_ID", "STOKER_ATTEMPT", "STOKER_RUN_DIR", "STOKER_HOME_ID", "STOKER_NONCE"}
    assert (told["STOKER_JOB_ID"], told["STOKER_ATTEMPT"]) == (job_id, "1")


def test_no_process_of_these_tests_is_left(server):
    counts = server.get("/api/training/queue").body

    assert (counts["running_count"], counts["queued_count"]) == (0, 0)
    assert living(str(server.home / "attempts")) == []


def _resident(pid: int) -> int:
    """Give the resident bytes of a process."""
    return int(read_proc(f"{pid}/statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")
