"""Every command, for people and as JSON."""

import json

import pytest

from tests.daemon.given_jobs import python
from tests.waiting import wait_until


def answer_of(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def running(stoker, job):
    with stoker.client() as client:
        wait_until(lambda: client.status(job)["status"] == "running", 30)


def test_help_lists_every_command(stoker):
    done = stoker("--help")

    assert done.returncode == 0
    for name in ("serve", "submit", "ls", "watch", "logs", "cancel", "force-start", "doctor", "demo"):
        assert f"\n  {name} " in done.stdout


def test_version_is_told(stoker):
    assert stoker("--version").stdout.startswith("stoker 0.")


def test_every_command_explains_itself(stoker):
    from stoker.cli.main import COMMANDS  # noqa: PLC0415 - read as the product lists it

    for name in COMMANDS:
        done = stoker(name, "--help")

        assert done.returncode == 0
        assert f"Usage: stoker {name}" in done.stdout


def test_submit_prints_the_id_and_how_to_go_on(stoker):
    done = stoker("submit", "--name", "hello", "--", *python("print('hi')"))

    job = done.stdout.split()[0]
    assert done.returncode == 0
    assert f"Watch it: stoker watch {job}" in done.stdout


def test_submit_quietly_prints_the_id_alone(stoker):
    done = stoker("submit", "-q", "--id", "quiet-one", "--", *python("pass"))

    assert done.stdout == "quiet-one\n"


def test_submit_answers_in_json(stoker):
    answer = answer_of(stoker("submit", "--json", "--id", "in-json", "--", *python("pass")))

    assert (answer["job_id"], answer["created"]) == ("in-json", True)


def test_submit_waits_and_shows_the_end(stoker):
    done = stoker("submit", "--wait", "--", *python("print('done')"))

    assert done.returncode == 0
    assert "completed" in done.stderr


def test_a_command_runs_where_it_was_submitted(stoker):
    done = stoker("submit", "--wait", "--", *python("open('here', 'w').close()"))

    assert done.returncode == 0
    assert (stoker.folder / "here").exists()


def test_flags_behind_the_command_belong_to_the_command(stoker):
    job = stoker("submit", "-q", "--", *python("import sys; print(sys.argv[1:])"), "--json", "--wait").stdout.strip()
    with stoker.client() as client:
        client.wait(job, timeout=30)

        assert client.logs(job)["logs"] == ["['--json', '--wait']"]


def test_submit_takes_a_yaml_file(stoker):
    (stoker.folder / "job.yaml").write_text(
        "recipe: command\ncommand: [python3, -c, 'import os; print(os.environ[\"RATE\"])']\n"
        "env: {RATE: on}\nlimits: {grace_seconds: 1e0}\nname: from a file\n"
    )
    answer = answer_of(stoker("submit", "job.yaml", "--json"))
    with stoker.client() as client:
        client.wait(answer["job_id"], timeout=30)

        assert answer["name"] == "from a file"
        assert client.logs(answer["job_id"])["logs"] == ["on"]


def test_submit_takes_json_from_standard_input_and_flags_win(stoker):
    request = {"recipe": "command", "command": python("pass"), "name": "from the file", "priority": 3}
    answer = answer_of(stoker("submit", "-", "--name", "from the flag", "--json", text=json.dumps(request)))

    assert (answer["name"], answer["priority"]) == ("from the flag", 3)


def test_a_dry_run_shows_the_plan_and_queues_nothing(stoker):
    words = ("submit", "--dry-run", "--id", "never-queued", "--env", "COLOUR=blue", "--", *python("pass"))
    told, answer = stoker(*words), answer_of(stoker(*words[:1], "--json", *words[1:]))

    assert "nothing was queued" in told.stdout
    assert "COLOUR=blue" in told.stdout
    assert answer["plan"]["env"]["COLOUR"] == "blue"
    assert stoker("show", "never-queued").returncode == 4


def test_a_data_set_can_be_sent_along(stoker):
    (stoker.folder / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    done = stoker("submit", "--dry-run", "--json", "--model", "/nowhere", "-d", "rows.jsonl", "--upload")

    assert "dataset" not in done.stderr
    assert "model" in done.stderr


def test_ls_shows_states_progress_and_ends(stoker, reported, failed):
    done = stoker("ls", "--all")
    jobs = {job["job_id"]: job for job in answer_of(stoker("ls", "--all", "--json"))["jobs"]}

    line = next(line for line in done.stdout.splitlines() if line.startswith(reported))
    assert "three steps" in line
    assert "completed" in line
    assert "100 %" in line
    assert jobs[failed]["error"] == "The training process exited with code 1"


def test_ls_filters_and_says_that_there_is_more(stoker, reported, failed):
    only = answer_of(stoker("ls", "--state", "failed", "--all", "--json"))["jobs"]
    few = stoker("ls", "-n", "1")

    assert failed in {job["job_id"] for job in only}
    assert {job["status"] for job in only} == {"failed"}
    assert "There are more" in few.stderr
    assert len(few.stdout.splitlines()) == 2


def test_ls_says_why_a_job_waits(alone):
    for number in range(5):
        alone.submit(python("import time; time.sleep(600)"), execution_id=f"held-{number}")
    with alone.client() as client:
        wait_until(lambda: client.queue()["running_count"] == 4, 30)
    waiting = next(job for job in answer_of(alone("ls", "--json"))["jobs"] if job["status"] == "queued")

    assert waiting["waiting_reason"].startswith("Waits for a slot")
    assert waiting["waiting_reason"] in alone("ls").stdout
    assert "4 of 4 slots taken, 1 waiting" in alone("queue").stdout
    assert answer_of(alone("queue", "--json"))["queued_count"] == 1


def test_show_tells_a_job(stoker, reported, failed):
    done, status = stoker("show", reported), answer_of(stoker("show", reported, "--json"))

    assert "state" in done.stdout
    assert "completed" in done.stdout
    assert "step 3 of 3" in done.stdout
    assert status["exit_code"] == 0
    assert "exited with code 1" in stoker("show", failed).stdout


def test_show_tells_that_a_job_lives(stoker, sleeper):
    running(stoker, sleeper)
    done = stoker("show", sleeper)

    assert "trainer" in done.stdout
    assert "supervisor" in done.stdout
    assert "watched by" in done.stdout


def test_logs_are_shown_whole_from_the_end_and_as_json(stoker, reported):
    whole, tail, rows = (
        stoker("logs", reported),
        stoker("logs", "-n", "1", reported),
        stoker("logs", "--json", reported),
    )

    assert whole.stdout == "step 1\nstep 2\nstep 3\n"
    assert tail.stdout == "step 3\n"
    assert [json.loads(line) for line in rows.stdout.splitlines()][1] == {"line": 1, "text": "step 2"}
    assert stoker("logs", "--attempt", "2", reported).stdout == ""


HALF = """
import os, time
print("first\\nhalf", end="", flush=True)
while not os.path.exists("go-on"):
    time.sleep(0.01)
print(" and whole", flush=True)
"""


def test_logs_hold_a_line_back_until_it_is_complete_while_they_follow(stoker, going):
    job = stoker.submit(python(HALF))
    with stoker.client() as client:
        wait_until(lambda: client.logs(job)["total_lines"] == 2, 30)
        following = going("logs", "-f", job)
        first, now = following.stdout.readline(), stoker("logs", job).stdout
        (stoker.folder / "go-on").touch()
        with following:
            rest = following.stdout.read()

        assert (first, rest) == ("first\n", "half and whole\n")
        assert now == "first\nhalf\n"


def test_a_last_line_without_an_end_is_shown_when_the_job_is_over(stoker):
    job = stoker.submit(python("print('half', end='')"))

    assert stoker("logs", "-f", job).stdout == "half\n"


def test_metrics_are_shown_as_a_table_and_as_lines_of_json(stoker, reported):
    drawn = stoker("metrics", reported)
    points = [json.loads(line) for line in stoker("metrics", "--json", reported).stdout.splitlines()]

    assert drawn.stdout.splitlines()[0].split()[:2] == ["ATTEMPT", "STEP"]
    assert [one["step"] for one in points] == [1, 2, 3]
    assert [
        json.loads(line)["step"] for line in stoker("metrics", "--json", "-n", "1", reported).stdout.splitlines()
    ] == [3]
    since = stoker("metrics", "--json", "--since", "1.1", reported).stdout.splitlines()
    assert [json.loads(line)["step"] for line in since] == [3]


def test_events_tell_the_history(stoker, reported):
    kinds = [event["to"] for event in answer_of(stoker("events", reported, "--json"))["events"] if event["to"]]

    assert kinds == ["queued", "pending", "running", "completed"]
    assert "pending -> running" in stoker("events", reported).stdout


def test_errors_tell_the_cause_and_the_traceback(stoker, reported, failed):
    told, answer = stoker("errors", failed), answer_of(stoker("errors", failed, "--json"))

    assert "exited with code 1 (exited)" in told.stdout
    assert "ValueError: the rows are odd" in told.stdout
    assert answer["traceback"]["exception_type"] == "ValueError"
    assert stoker("errors", reported).stdout == "The job has not failed.\n"


def test_a_job_without_checkpoints_says_so(stoker, reported):
    assert stoker("checkpoints", reported).stdout == "The job has no complete checkpoint.\n"
    assert answer_of(stoker("checkpoints", reported, "--json"))["checkpoints"] == []


def test_watch_follows_a_job_to_its_end(stoker, reported):
    told, rows = stoker("watch", reported), stoker("watch", "--json", reported)

    assert told.returncode == 0
    assert f"Job {reported} completed" in told.stderr
    assert json.loads(rows.stdout.splitlines()[-1])["status"] == "completed"


def test_cancel_waits_until_nothing_runs(stoker, sleeper):
    running(stoker, sleeper)
    first, again = stoker("cancel", "--wait", sleeper), answer_of(stoker("cancel", sleeper, "--json"))

    assert first.returncode == 0
    assert "nothing of it runs" in first.stdout
    assert again["previous_status"] == "cancelled"


def test_pause_and_resume_go_on(stoker, sleeper):
    running(stoker, sleeper)
    with stoker.client() as client:
        assert answer_of(stoker("pause", sleeper, "--json"))["success"] is True
        wait_until(lambda: client.status(sleeper)["status"] == "paused", 30)
        resumed = stoker("resume", sleeper)
        wait_until(lambda: client.status(sleeper)["status"] == "running", 30)

        assert "queued" in resumed.stdout
        assert client.status(sleeper)["attempt"] == 2


def test_priority_and_force_start_order_the_queue(alone):
    for number in range(4):
        alone.submit(python("import time; time.sleep(600)"), execution_id=f"held-{number}")
    for name in ("first", "second", "third"):
        alone.submit(python("pass"), execution_id=name)
    raised, headed = alone("priority", "second", "-5"), answer_of(alone("force-start", "third", "--json"))
    order = [job["job_id"] for job in answer_of(alone("queue", "--json"))["queued_jobs"]]

    assert "-5" in raised.stdout
    assert headed["queue_position"] == 1
    assert order[-3:] == ["third", "first", "second"]


def test_force_start_makes_a_new_job_of_an_ended_one(stoker, reported):
    answer = answer_of(stoker("force-start", reported, "--json"))

    assert answer["retried_from"] == reported
    assert answer["job_id"] != reported


def test_delete_removes_jobs_and_keeps_on_after_a_refusal(stoker, sleeper):
    gone = [stoker.submit(python("pass")) for _ in range(2)]
    with stoker.client() as client:
        for job in gone:
            client.wait(job, timeout=30)
    done = stoker("delete", gone[0], sleeper, gone[1])

    assert done.returncode == 6
    assert sleeper in done.stderr
    assert [stoker("show", job).returncode for job in gone] == [4, 4]


def test_reconnect_says_what_it_found(stoker, sleeper):
    running(stoker, sleeper)
    answer = answer_of(stoker("reconnect", "--json"))

    assert "alive" in answer["findings"].values()
    assert "looked for" in stoker("reconnect").stdout


@pytest.mark.parametrize("command", ["show", "logs", "events", "errors", "checkpoints", "metrics", "cancel", "watch"])
def test_an_unknown_job_is_told_as_such(stoker, command):
    told, as_json = stoker(command, "nobody"), stoker(command, "nobody", "--json")

    assert told.returncode == as_json.returncode == 4
    assert told.stderr == "There is no job nobody. List the jobs to see which there are.\n"
    assert told.stdout == ""
    assert json.loads(as_json.stderr)["status"] == 404
