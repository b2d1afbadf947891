"""The verbs of jobs over HTTP, on a real server with real processes."""

import concurrent.futures
import os
import socket
import time
import urllib.parse

import pytest

from stoker.domain.ids import ROUTE_WORDS
from tests.daemon.given_jobs import REPORTS, all_metrics, living, python, status, submit, wait_for, wait_for_step
from tests.server import running_server
from tests.waiting import wait_until

API = "/api/training"


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ORIGINAL_FIELDS = words("""
    job_id user_id status progress current_epoch total_epochs current_step total_steps loss eval_loss learning_rate
    max_learning_rate batch_size gradient_accumulation_steps grad_norm gpu_memory_allocated_gb gpu_memory_reserved_gb
    elapsed_seconds remaining_seconds samples_per_second error_message started_at completed_at updated_at perplexity
    train_perplexity best_eval_loss best_epoch best_step epochs_without_improvement loss_trend total_samples
    train_samples val_samples total_tokens_processed resume_from_checkpoint num_gpus distributed_strategy
    parameter_updates last_parameter_update_at process_pid
""")
ADDED_FIELDS = words("""
    error attempt reason exit_code signal stop_request phase watched_by suspect heartbeat_age_seconds
    progress_age_seconds waiting_reason gpu_receipt supervisor_pid process_pid name queue_position paused_at model_name
    config
""")
TRAVERSALS = [
    "../etc/passwd", "..", ".", "a/../b", "/etc/passwd", "..\\x", "%2e%2e", "a;b", "a%00b", "a b", "-rf", "_x", ".x",
    ".*", "^job", "a|b", "$(touch x)", "`id`", "a\nb", "a\u202eb", "ä", "x" * 129, "a'b", 'a"b', "<script>", "a?b",
    "a#b",
]  # fmt: skip


@pytest.fixture
def ended(server):
    """Give the id of a job that has completed."""
    job_id = submit(server, python("print('done')"))
    wait_for(server, job_id, "completed")
    return job_id


def test_execute_answers_with_the_job_and_its_place(server):
    answer = server.post(f"{API}/execute", {"recipe": "command", "command": ["true"], "name": "first", "user_id": "u"})

    assert answer.status == 200
    assert answer.body["status"] == "queued"
    assert answer.body["created"] is True
    assert (answer.body["name"], answer.body["user_id"]) == ("first", "u")
    assert {"job_id", "message", "queue_position", "success"} <= set(answer.body)


def test_status_has_every_field_of_the_original_and_what_it_lacked(server, ended):
    assert set(status(server, ended)) >= ORIGINAL_FIELDS | ADDED_FIELDS


def test_an_empty_execution_id_means_a_new_one(server):
    bodies = [{"recipe": "command", "command": ["true"], "execution_id": ""}] * 2
    ids = [server.post(f"{API}/execute", body).body["job_id"] for body in bodies]

    assert len(set(ids)) == 2
    assert all(job_id.startswith("job-") for job_id in ids)


def test_od5_the_same_id_with_the_same_body_is_the_same_job_and_one_process(server, tmp_path):
    marks = tmp_path / "marks"
    body = {"recipe": "command", "command": python(f"open({str(marks)!r}, 'a').write('x')"), "execution_id": "od5-same"}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: server.post(f"{API}/execute", body), range(8)))
    wait_for(server, "od5-same", "completed")
    again = server.post(f"{API}/execute", body)

    assert {answer.status for answer in answers} == {200}
    assert sorted(answer.body["created"] for answer in answers) == [False] * 7 + [True]
    assert (again.body["created"], again.body["status"]) == (False, "completed")
    assert marks.read_text() == "x"


def test_od5_the_same_id_with_another_body_is_refused_and_the_first_job_is_untouched(server):
    first = submit(server, python("import time; time.sleep(600)", "tag-od5"), execution_id="od5-other")
    job = wait_for(server, first, "running")
    answer = server.post(f"{API}/execute", {"recipe": "command", "command": ["false"], "execution_id": first})

    assert (answer.status, answer.body["type"].rpartition(":")[2]) == (409, "id-taken")
    assert status(server, first)["process_pid"] == job["process_pid"]

    server.post(f"{API}/cancel/{first}")
    wait_for(server, first, "cancelled")

    assert living("tag-od5") == []


def test_an_idempotency_key_makes_one_job_of_many_requests(server):
    body, headers = {"recipe": "command", "command": ["true"]}, {"Idempotency-Key": "key-one"}
    first, second = (server.post(f"{API}/execute", body, headers) for _ in range(2))
    other = server.post(f"{API}/execute", {**body, "name": "another"}, headers)
    free = server.post(f"{API}/execute", body, {"Idempotency-Key": "key-two"})

    assert first.body["job_id"] == second.body["job_id"]
    assert (first.body["created"], second.body["created"]) == (True, False)
    assert (other.status, other.body["type"].rpartition(":")[2]) == (409, "idempotency-mismatch")
    assert free.body["job_id"] != first.body["job_id"]


@pytest.mark.parametrize("key", ["k" * 256, "a\tb"])
def test_an_idempotency_key_that_can_not_be_kept_is_refused(server, key):
    assert (
        server.post(f"{API}/execute", {"recipe": "command", "command": ["true"]}, {"Idempotency-Key": key}).status
        == 400
    )


def test_the_id_of_a_deleted_job_stays_taken(server):
    body = {"recipe": "command", "command": ["true"], "execution_id": "deleted-one"}
    server.post(f"{API}/execute", body)
    wait_for(server, "deleted-one", "completed")
    deleted = server.delete(f"{API}/deleted-one")

    assert deleted.status == 200
    assert server.get(f"{API}/status/deleted-one").status == 404
    assert server.post(f"{API}/execute", body).status == 409
    assert not os.path.exists(server.home / "jobs" / "deleted-one")
    assert server.delete(f"{API}/deleted-one").status == 404


@pytest.mark.parametrize("job_id", TRAVERSALS)
def test_od40_r7_what_is_no_id_is_refused_everywhere_and_touches_no_file(server, job_id, tmp_path):
    before = sorted(os.listdir(server.home / "jobs"))
    quoted = urllib.parse.quote(job_id, safe="")
    submitted = server.post(f"{API}/execute", {"recipe": "command", "command": ["true"], "execution_id": job_id})
    asked = [
        server.request(method, path)
        for method, path in [
            ("GET", f"{API}/status/{quoted}"), ("GET", f"{API}/logs/{quoted}"), ("GET", f"{API}/{quoted}/errors"),
            ("POST", f"{API}/cancel/{quoted}"), ("DELETE", f"{API}/{quoted}"), ("POST", f"{API}/{quoted}/force-start"),
        ]
    ]  # fmt: skip

    assert submitted.status == 400
    assert submitted.body["errors"][0]["field"] == "execution_id"
    assert {answer.status for answer in asked} <= {404, 405}
    assert sorted(os.listdir(server.home / "jobs")) == before


def test_od40_what_is_no_id_never_reaches_the_store(application, monkeypatch):
    asked = []
    monkeypatch.setattr(type(application.store), "job_with_attempt", lambda _, job_id: asked.append(job_id))
    answers = [
        application.ask("GET", f"{API}/status/{job_id}") for job_id in ("..", ".*", "a b", "_x", "x" * 129, "a\0")
    ]

    assert {answer.status for answer in answers} == {404}
    assert asked == []


@pytest.mark.parametrize("word", sorted(ROUTE_WORDS))
def test_no_job_is_called_as_a_route_is(server, word):
    answer = server.post(f"{API}/execute", {"recipe": "command", "command": ["true"], "execution_id": word})

    assert answer.status == 400


def test_every_word_of_the_routes_is_kept_from_ids(application):
    words = {
        part
        for route in application.app.routes
        if route.path.startswith(f"{API}/")
        for part in route.path.removeprefix(f"{API}/").split("/")
        if not part.startswith("{")
    }

    assert words <= ROUTE_WORDS


def test_a_cancel_is_harmless_in_every_state_but_after_another_end(server, ended):
    waiting = [submit(server, python("import time; time.sleep(600)"), priority=-5) for _ in range(3)]
    running = [wait_for(server, job_id, "running")["job_id"] for job_id in waiting[:2]]
    queued = [server.post(f"{API}/cancel/{waiting[2]}") for _ in range(2)]
    stopped = [server.post(f"{API}/cancel/{job_id}") for job_id in running for _ in range(2)]
    for job_id in running:
        wait_for(server, job_id, "cancelled")
    late = server.post(f"{API}/cancel/{running[0]}")
    refused = server.post(f"{API}/cancel/{ended}")

    assert [answer.status for answer in (*queued, *stopped, late)] == [200] * 7
    assert all(
        {"success", "job_id", "previous_status", "message"} <= set(a.body) for a in (*queued, *stopped, late, refused)
    )
    assert [answer.body["previous_status"] for answer in queued] == ["queued", "cancelled"]
    assert (refused.status, refused.body["success"], refused.body["previous_status"]) == (409, False, "completed")
    assert refused.body["job_id"] == ended
    assert status(server, ended)["status"] == "completed"
    assert server.post(f"{API}/cancel/unknown").status == 404


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume"])
def test_a_failed_job_is_refused_every_verb_of_a_live_one(server, verb):
    job_id = submit(server, ["false"])
    wait_until(lambda: status(server, job_id)["status"] == "failed")
    answer = server.post(f"{API}/{verb}/{job_id}")

    assert (answer.status, answer.body["previous_status"]) == (409, "failed")


def test_od2_a_pause_sticks_and_a_resume_is_let_in(server):
    job_id = submit(server, python(REPORTS, 600, 0.1))
    wait_for_step(server, job_id, 2)
    paused = server.post(f"{API}/pause/{job_id}")
    wait_for(server, job_id, "paused")
    again = server.post(f"{API}/pause/{job_id}")
    resumed = server.post(f"{API}/resume/{job_id}")
    wait_until(lambda: status(server, job_id)["attempt"] == 2)
    server.post(f"{API}/cancel/{job_id}")
    wait_for(server, job_id, "cancelled")

    assert (paused.status, paused.body["previous_status"]) == (200, "running")
    assert (again.status, again.body["previous_status"]) == (200, "paused")
    assert again.body["paused_at"] is not None
    assert (resumed.status, resumed.body["new_status"]) == (200, "queued")


@pytest.mark.parametrize("how", ["query", "body"])
def test_od41_a_resume_from_a_path_that_is_not_the_jobs_own_is_refused(server, how):
    job_id = submit(server, python("import time; time.sleep(600)"))
    wait_for(server, job_id, "running")
    server.post(f"{API}/pause/{job_id}")
    wait_for(server, job_id, "paused")
    path, body = f"{API}/resume/{job_id}", None
    if how == "query":
        path += "?checkpoint_path=/etc"
    else:
        body = {"checkpoint_path": "/etc"}
    answer = server.post(path, body)

    assert answer.status == 400
    assert answer.body["errors"][0]["field"] == "checkpoint_path"
    assert server.post(f"{API}/cancel/{job_id}").status == 200


def test_force_start_of_an_ended_job_makes_a_new_one(server, ended):
    answer = server.post(f"{API}/{ended}/force-start")

    assert answer.status == 200
    assert answer.body["retried_from"] == ended
    assert answer.body["job_id"] != ended
    assert wait_for(server, answer.body["job_id"], "completed")["retried_from"] == ended


def test_the_queue_follows_priority_and_tells_places_and_reasons(tmp_path):
    with running_server(tmp_path / "home") as server:
        holder = submit(server, python("import time; time.sleep(600)"))
        wait_for(server, holder, "running")
        low, high = submit(server, ["true"]), submit(server, ["true"], priority=5)
        first = [job["job_id"] for job in server.get(f"{API}/queue").body["queued_jobs"]]
        raised = server.post(f"{API}/{low}/priority", {"priority": 9})
        second = server.get(f"{API}/queue").body

        assert first == [high, low]
        assert (raised.status, raised.body["queue_position"]) == (200, 1)
        assert [job["job_id"] for job in second["queued_jobs"]] == [low, high]
        assert [job["position"] for job in second["queued_jobs"]] == [1, 2]
        assert holder in second["queued_jobs"][0]["waiting_reason"]
        assert (second["running_count"], second["queued_count"], second["queue_active"]) == (1, 2, True)
        assert second["running_jobs"][0].keys() >= {"job_id", "name", "progress", "current_epoch", "total_epochs"}
        assert server.post(f"{API}/{low}/priority", {"priority": 1001}).status == 400
        assert server.post(f"{API}/{low}/priority", {"priority": "9"}).status == 400


def test_jobs_are_listed_in_pages_that_join_without_gap_or_repetition(application):
    for number in range(25):
        body = {"recipe": "command", "command": ["true"], "execution_id": f"page-{number}", "user_id": f"u{number % 2}"}
        application.ask("POST", f"{API}/execute", body=body)
    application.ask("POST", f"{API}/cancel/page-3")
    seen, after = [], ""
    while after is not None:
        page = application.ask("GET", f"{API}/jobs?limit=10{f'&after={after}' if after else ''}").body
        seen += [job["job_id"] for job in page["jobs"]]
        after = page["next"]
    filtered = {
        query: len(application.ask("GET", f"{API}/jobs?{query}").body["jobs"])
        for query in (
            "status=cancelled",
            "status=queued,cancelled",
            "status=queued&status=cancelled",
            "user_id=u1",
            "text=e-24",
        )
    }

    assert seen == [f"page-{number}" for number in reversed(range(25))]
    assert list(filtered.values()) == [1, 25, 25, 12, 1]


def test_logs_are_given_from_the_beginning_the_middle_and_the_end(server):
    job_id = submit(server, python("for i in range(200): print('line', i)"))
    wait_for(server, job_id, "completed")
    pages = {
        query: server.get(f"{API}/logs/{job_id}{query}").body for query in ("", "?limit=5&offset=10", "?offset=-3")
    }

    assert pages[""]["logs"] == [f"line {number}" for number in range(100)]
    assert (pages[""]["total_lines"], pages[""]["limit"], pages[""]["offset"]) == (200, 100, 0)
    assert pages["?limit=5&offset=10"]["logs"] == [f"line {number}" for number in range(10, 15)]
    assert pages["?offset=-3"]["logs"] == ["line 197", "line 198", "line 199"]


def test_metrics_are_given_since_a_sequence_number(server):
    job_id = submit(server, python(REPORTS, 10, 0))
    wait_for(server, job_id, "completed")
    everything = server.get(f"{API}/metrics/{job_id}").body
    part = server.get(f"{API}/metrics/{job_id}?since=1.6").body
    nothing = server.get(f"{API}/metrics/{job_id}?since={everything['next']}").body

    assert [point["seq"] for point in everything["metrics"]] == list(range(10))
    assert [point["seq"] for point in part["metrics"]] == [7, 8, 9]
    assert (nothing["metrics"], nothing["next"]) == ([], everything["next"])


def test_od37_nan_and_infinity_never_break_an_answer(server):
    code = """
    import os
    with open(os.path.join(os.environ["STOKER_RUN_DIR"], "metrics.jsonl"), "a") as file:
        for step, loss in enumerate(("NaN", "Infinity", "-Infinity", "1e999", "0.5")):
            file.write('{"kind": "step", "step": %d, "total": 5, "loss": %s, "grad_norm": NaN}\\n' % (step, loss))
    """
    job_id = submit(server, python(code))
    job = wait_for(server, job_id, "completed")
    points = all_metrics(server, job_id)

    assert [point["loss"] for point in points] == [None, None, None, None, 0.5]
    assert points[0]["flags"] == {"loss": "nan", "grad_norm": "nan"}
    assert job["grad_norm"] is None


def test_errors_explain_a_failure_with_its_traceback(server):
    job_id = submit(server, python("raise ValueError('bad row 7')"))
    wait_until(lambda: status(server, job_id)["status"] == "failed")
    found = server.get(f"{API}/{job_id}/errors").body

    assert found["error_summary"] == status(server, job_id)["error"]
    assert found["traceback"]["exception_type"] == "ValueError"
    assert found["traceback"]["exception_message"] == "bad row 7"
    assert found["traceback"]["frames"][0].keys() == {"file", "line", "function", "code"}
    assert found["error_count"] >= found["unique_error_count"] >= 1


def test_events_tell_the_whole_history_and_go_on_from_a_version(server, ended):
    everything = server.get(f"{API}/{ended}/events").body["events"]
    later = server.get(f"{API}/{ended}/events?after=3").body["events"]
    limited = server.get(f"{API}/{ended}/events?limit=2").body["events"]

    assert [event["version"] for event in everything] == list(range(1, len(everything) + 1))
    assert later == everything[3:]
    assert limited == everything[:2]


def test_validate_spec_shows_the_plan_and_queues_nothing(server):
    before = server.get(f"{API}/jobs?limit=1").body["jobs"]
    answer = server.post(f"{API}/validate-spec", {"recipe": "command", "command": ["echo", "$HOME"], "env": {"A": "1"}})

    assert answer.status == 200
    assert answer.body["valid"] is True
    assert answer.body["plan"]["argv"][-2:] == ["echo", "$HOME"]
    assert answer.body["spec"]["command"] == ["echo", "$HOME"]
    assert server.get(f"{API}/jobs?limit=1").body["jobs"] == before


def test_reconnect_says_what_it_found(server):
    job_id = submit(server, python("import time; time.sleep(600)"))
    wait_for(server, job_id, "running")
    answer = server.post(f"{API}/reconnect")
    server.post(f"{API}/cancel/{job_id}")

    assert answer.status == 200
    assert answer.body["reconnected"] >= 1
    assert "alive" in answer.body["findings"].values()
    assert {"jobs_before", "jobs_after", "running_before", "running_after", "message"} <= set(answer.body)


def test_checkpoints_of_a_job_without_any_are_an_empty_list(server, ended):
    assert server.get(f"{API}/checkpoints/{ended}").body == {
        "job_id": ended,
        "checkpoints": [],
        "best_checkpoint": None,
    }


def test_r8_a_command_is_never_given_to_a_shell(server, tmp_path):
    mark = tmp_path / "mark"
    job_id = submit(server, ["echo", f"$(touch {mark})", f"; touch {mark}", f"`touch {mark}`"], name=f"$(touch {mark})")
    wait_for(server, job_id, "completed")

    assert not mark.exists()
    assert server.get(f"{API}/logs/{job_id}").body["logs"] == [f"$(touch {mark}) ; touch {mark} `touch {mark}`"]


def test_od8_the_server_answers_while_a_job_resists_its_end(server):
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(600)"
    job_id = submit(server, python(code), limits={"grace_seconds": 2})
    wait_until(lambda: server.get(f"{API}/logs/{job_id}").body["logs"])
    server.post(f"{API}/cancel/{job_id}")
    slowest, end = 0.0, time.monotonic() + 1.5
    while time.monotonic() < end:
        began = time.monotonic()
        server.get("/health")
        slowest = max(slowest, time.monotonic() - began)
    wait_for(server, job_id, "cancelled")

    assert slowest < 1.0


def test_r23_a_name_can_not_forge_a_line_of_the_log(server):
    answer = server.post(f"{API}/execute", {"recipe": "command", "command": ["true"], "name": "a\n2026 forged"})
    server.get(f"{API}/status/x%0a2026-forged")

    assert answer.status == 400
    assert not [line for line in server.log.splitlines() if line.startswith("2026-forged")]


def test_f6_a_body_may_come_slowly_and_in_pieces(server):
    body = b'{"recipe": "command", "command": ["true"]}'
    head = b"POST /api/training/execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        for piece in (head, b"Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n" % len(body), body, b"\r\n0\r\n\r\n"):
            connection.sendall(piece)
            time.sleep(0.05)
        answer = connection.recv(4096)

    assert answer.startswith(b"HTTP/1.1 200")
