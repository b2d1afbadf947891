"""Watching outlives the server: no line twice, none left out, and an end that is seen."""

import json
import threading

from tests.daemon.given_jobs import REPORTS, python
from tests.waiting import wait_until

LINES = 400


def restart_twice(server):
    for _ in range(2):
        server.kill9()
        server.start()


def rest_of(process):
    """Give what a process still says after a first line was read; `communicate` would lose what that read ahead."""
    with process:
        return process.stdout.read(), process.stderr.read()


def test_logs_that_are_followed_over_restarts_have_no_gap_and_no_duplicate(alone):
    job = alone.submit(
        python("import time\nfor n in range(400):\n    print('line', n, flush=True)\n    time.sleep(0.02)")
    )
    following = alone.start("logs", "-f", "--json", job)
    first = following.stdout.readline()
    restart_twice(alone.server)
    rest, said = rest_of(following)
    rows = [json.loads(line) for line in (first + rest).splitlines()]

    assert following.returncode == 0, said
    assert [row["line"] for row in rows] == list(range(LINES))
    assert [row["text"] for row in rows] == [f"line {n}" for n in range(LINES)]


def test_watch_survives_restarts_and_sees_the_end(alone):
    job = alone.submit(python(REPORTS, 120, 0.05))
    watching = alone.start("watch", "--json", job)
    first = watching.stdout.readline()
    restart_twice(alone.server)
    rest, said = rest_of(watching)
    events = [json.loads(line) for line in (first + rest).splitlines()]

    assert watching.returncode == 0, said
    assert [event["event"] for event in events].count("closed") >= 1
    assert (events[-1]["status"], events[-1]["current_step"]) == ("completed", 120)
    numbers = [int(event["id"]) for event in events if event.get("id") and event["event"] not in ("opened", "end")]
    assert numbers == sorted(set(numbers))


def test_watch_tells_people_that_the_server_is_away(alone):
    job = alone.submit(python("import time; time.sleep(600)"), limits={"grace_seconds": 0})
    watching = alone.start("watch", job)
    wait_until(lambda: "running" in watching.stderr.readline(), 30)
    alone.server.kill9()
    wait_until(lambda: "the server is away; the job goes on" in watching.stderr.readline(), 30)
    alone.server.start()
    with alone.client() as client:
        client.cancel(job)
    _, said = watching.communicate(timeout=30)

    assert watching.returncode == 75
    assert f"Job {job} cancelled" in said


def test_a_submit_that_waits_sees_the_end_of_a_job_that_ended_while_the_server_was_away(alone):
    waiting = alone.start(
        "submit", "--wait", "--json", "--", *python("import time; time.sleep(2); raise SystemExit(4)")
    )
    job = json.loads(waiting.stdout.readline())["job_id"]
    with alone.client() as client:
        wait_until(lambda: client.status(job)["status"] == "running", 30)
        alone.server.kill9()
        threading.Event().wait(3)  # longer than the job goes on
        alone.server.start()
        waiting.communicate(timeout=60)

        assert waiting.returncode == 1
        assert client.status(job)["exit_code"] == 4
