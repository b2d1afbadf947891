"""Every refusal has one form, says the field and the remedy, and nothing of the inside."""

import pytest

from stoker.api.errors import TABLE, TYPE_PREFIX, explain
from stoker.domain import errors
from stoker.domain.errors import IllegalMove, Problem, StokerError
from tests.api.test_door import PROBLEM_FIELDS, command

ALL_ERRORS = sorted(
    (one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, StokerError)),
    key=lambda one: one.__name__,
)
EXECUTE = "/api/training/execute"
STATUSES = {
    "Conflict": 409, "EpochLost": 503, "Forbidden": 403, "HomeLocked": 500, "HomeUnusable": 500,
    "IdTaken": 409, "IdempotencyMismatch": 409, "IllegalMove": 409, "InvalidRequest": 400, "NotFound": 404,
    "OpenBind": 500, "PortInUse": 500, "SecretsGone": 409, "StokerError": 500, "StorageFull": 507,
    "Unauthenticated": 401, "Unavailable": 503,
}  # fmt: skip


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_every_error_has_a_place_in_the_table(kind):
    arguments = {
        "InvalidRequest": (Problem(field="config", message="is wrong", remedy="Mend it"),),
        "IllegalMove": ("job", "failed", "pause"),
        "HomeLocked": ("/home", 7),
        "SecretsGone": ("job", "failed"),
    }.get(kind.__name__, ("What is so",))
    answer = explain(kind(*arguments), "/path")

    assert answer.status_code == STATUSES[kind.__name__]
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code == 503) == ("retry-after" in answer.headers)


def test_no_line_of_the_table_hides_a_narrower_one():
    for place, (kind, *_) in enumerate(TABLE):
        assert not any(issubclass(later, kind) for later, *_ in TABLE[place + 1 :])


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/training/status/none", None, 404),
        ("GET", "/nothing", None, 404),
        ("GET", "/api/training/jobs/", None, 404),
        ("PUT", "/api/training/jobs", None, 405),
        ("GET", EXECUTE, None, 405),
        ("OPTIONS", EXECUTE, None, 405),
        ("POST", EXECUTE, b"{", 400),
        ("POST", EXECUTE, b"\xff", 400),
        ("POST", EXECUTE, {"recipe": "nonesuch"}, 400),
        ("GET", "/api/training/logs/none?limit=x", None, 400),
        ("GET", "/api/training/logs/none?limt=5", None, 400),
    ],
)
def test_every_refusal_has_the_same_form(application, method, path, body, status):
    answer = application.ask(method, path, body=body)

    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.body) >= PROBLEM_FIELDS
    assert answer.body["status"] == status
    assert answer.body["type"].startswith(TYPE_PREFIX)
    assert answer.body["instance"] == path.partition("?")[0]
    assert answer.body["detail"]
    assert all(set(error) == {"field", "message", "remedy"} for error in answer.body["errors"])


def test_a_method_that_is_not_there_is_told_which_one_is(application):
    answer = application.ask("GET", EXECUTE)

    assert answer.headers["allow"] == "POST"
    assert "POST" in answer.body["detail"]


@pytest.mark.parametrize(
    ("body", "field", "remedy"),
    [
        ({"dataset_pth": "x"}, "dataset_pth", "dataset_path"),
        ({"stall_seconds": 5}, "stall_seconds", "limits.stall_seconds"),
        ({"limits": {"stal_seconds": 5}}, "limits.stal_seconds", "stall_seconds"),
        ({"job_id": "x"}, "job_id", "execution_id"),
        ({"gpus": "2"}, "gpus", "whole number"),
        ({"gpus": True}, "gpus", "whole number"),
        ({"priority": 1.5}, "priority", "whole number"),
        ({"command": "sleep 1", "recipe": "command"}, "command", "list"),
        ({"command": ["sleep", 1]}, "command[1]", "text"),
        ({"env": {"A": 1}}, "env.A", "text"),
        ({"env": {"A=B": "1"}}, "env.A=B", "letters"),
        ({"limits": {"grace_seconds": -1}}, "limits.grace_seconds", "seconds"),
        ({"execution_id": "a/b"}, "execution_id", "letters"),
        ({"name": "x" * 501}, "name", "500"),
        ([], "body", "object"),
        (b"nonsense", "body", "JSON"),
        (b'{"config": {"learning_rate": NaN}}', "body", "JSON"),
        (b'{"config": {"learning_rate": Infinity}}', "body", "JSON"),
        (b'{"name": "\\ud800"}', "body", "JSON"),
        (b"", "body", "JSON"),
    ],
)
def test_od46_a_wrong_field_is_named_with_the_remedy(application, body, field, remedy):
    answer = application.ask("POST", EXECUTE, body=body)
    found = {error["field"]: error for error in answer.body["errors"]}

    assert answer.status == 400
    assert remedy in found[field]["remedy"]
    assert application.ask("GET", "/api/training/jobs").body["jobs"] == []


def test_every_fault_is_told_at_once(application):
    body = {"recipe": "command", "command": [1], "gpus": "x", "unheard": 1, "limits": {"grace_seconds": "y"}}
    answer = application.ask("POST", EXECUTE, body=body)

    assert {error["field"] for error in answer.body["errors"]} == {
        "command[0]",
        "gpus",
        "unheard",
        "limits.grace_seconds",
    }


def test_r18_json_that_is_nested_without_end_is_refused(application):
    answer = application.ask("POST", EXECUTE, body=b'{"config":' + b"[" * 200_000 + b"]" * 200_000 + b"}")

    assert answer.status == 400
    assert "JSON" in answer.body["detail"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1e3", "limit=" + "9" * 40, "offset=" + "9" * 400, "attempt=0", "limit=10001", "limit="]
)
def test_numbers_out_of_range_are_refused_and_never_crash(application, query):
    application.ask("POST", EXECUTE, body=command("there"))
    answer = application.ask("GET", f"/api/training/logs/there?{query}")

    assert answer.status == 400
    assert answer.body["errors"][0]["field"] == query.split("=")[0]


@pytest.mark.parametrize("since", ["x", "1.2.3", "-5", "9" * 40, "1." + "9" * 40, "%D9%A1", "1e5", "0x1"])
def test_a_sequence_number_that_is_none_is_refused(application, since):
    application.ask("POST", EXECUTE, body=command("there"))
    answer = application.ask("GET", f"/api/training/metrics/there?since={since}")

    assert answer.status == 400


@pytest.mark.parametrize("query", ["status=runing", "status=running,done", "limit=1001", "after=x", "statuss=running"])
def test_a_filter_that_is_not_known_is_refused_rather_than_passed_over(application, query):
    answer = application.ask("GET", f"/api/training/jobs?{query}")

    assert answer.status == 400
    assert answer.body["errors"][0]["remedy"]


def test_the_nearest_word_is_named_in_queries_too(application):
    answers = [application.ask("GET", f"/api/training/jobs?{query}") for query in ("stauts=x", "status=runing")]

    assert "'status'" in answers[0].body["errors"][0]["remedy"]
    assert "'running'" in answers[1].body["errors"][0]["remedy"]


def test_od44_a_crash_tells_the_client_nothing_and_the_log_everything(application, capfd):
    def crash() -> None:
        raise RuntimeError("the inside: /root/secret.py")

    application.app.add_api_route("/crash", crash)
    answer = application.ask("GET", "/crash")

    assert answer.status == 500
    assert "inside" not in str(answer.body)
    assert "Traceback" not in str(answer.body)


def test_a_busy_store_is_503_and_a_full_disk_507(application, monkeypatch):
    for error, status in ((errors.Unavailable("The database is busy"), 503), (errors.StorageFull("Disk full"), 507)):

        def fail(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(type(application.store), "submit", fail)
        answer = application.ask("POST", EXECUTE, body=command("job"))

        assert answer.status == status
        assert answer.body["detail"]


def test_a_refused_move_says_what_the_original_said_beside_the_problem():
    answer = explain(IllegalMove("job-1", "completed", "cancel"), "/api/training/cancel/job-1")

    assert b'"success":false' in answer.body
    assert b'"previous_status":"completed"' in answer.body
