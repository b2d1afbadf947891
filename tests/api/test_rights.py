"""What a key can't reach by a way round: programs, other keys, other people's jobs, the server's patience."""

import os
import tempfile

import pytest

from stoker.domain.actor import Actor, Scope
from stoker.domain.errors import Forbidden, InvalidRequest
from stoker.domain.spec import JobSpec
from stoker.domain.states import JobState
from stoker.domain.stop import StopKind, StopRequest
from stoker.recipes.finetune import FinetuneRecipe
from stoker.service.force_start import force_start
from stoker.store.port import NewJob
from tests.api.given_api import Application

API = "/api/training"
COMMAND = {"recipe": "command", "command": ["true"]}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("group", ["env", "secrets"])
@pytest.mark.parametrize("name", ["LD_PRELOAD", "PYTHONPATH", "PATH", "BROWSER", "PYTHONWARNINGS", "HF_HOME"])
def test_a_variable_that_can_run_a_program_needs_the_scope_command(application, group, name):
    plain = bearer(application.key("ada", Scope.SUBMIT))
    able = bearer(application.key("ada", Scope.SUBMIT, Scope.COMMAND))
    body = {"config": {}, group: {name: "x"}}
    refused = application.ask("POST", f"{API}/validate-spec", headers=plain, body=body)

    assert refused.status == 403
    assert name in refused.body["detail"]
    assert "'command'" in refused.body["detail"]
    assert application.ask("POST", f"{API}/validate-spec", headers=able, body=body).status == 400
    assert application.ask("POST", f"{API}/execute", headers=plain, body=body).status == 403


def test_a_token_needs_no_scope_but_submit(application):
    plain = bearer(application.key("ada", Scope.SUBMIT))
    body = {"config": {}, "secrets": {"HF_TOKEN": "x", "WANDB_API_KEY": "x"}, "env": {"OMP_NUM_THREADS": "1"}}

    assert application.ask("POST", f"{API}/validate-spec", headers=plain, body=body).status == 400


@pytest.mark.parametrize(("scopes", "path"), [((Scope.READ,), "execute"), ((Scope.READ,), "validate-spec")])
def test_a_body_is_not_read_for_a_key_that_may_not_submit(application, scopes, path):
    headers = bearer(application.key("ada", *scopes))

    assert application.ask("POST", f"{API}/{path}", headers=headers, body=b"{" * 1000).status == 403


@pytest.mark.parametrize("path", ["job/priority", "keys", "resume/job"])
def test_a_body_without_a_data_set_has_a_small_bound(application, path):
    assert application.ask("POST", f"{API}/{path}", body=b" " * (65 << 10)).status == 413
    assert application.ask("POST", f"{API}/execute", body=b" " * (65 << 10)).status == 400


def test_a_body_of_very_many_values_is_refused_before_they_are_made(application):
    many = b"[" + b"{}," * 100_000 + b"{}]"
    rows = {**COMMAND, "dataset_content": '{"a": [1, 2]}\n' * 60_000}
    answer = application.ask("POST", f"{API}/validate-spec", body=many)

    assert answer.status == 400
    assert "100000 JSON values" in answer.body["detail"]
    assert "JSON values" not in application.ask("POST", f"{API}/validate-spec", body=rows).body["detail"]


def test_a_key_revokes_itself_and_no_other_without_admin(application):
    reader, admin = application.key("ada", Scope.READ), application.key("ada", Scope.ADMIN)
    own, other = (f"{API}/keys/{key.split('_')[1]}" for key in (reader, admin))

    assert application.ask("DELETE", other, headers=bearer(reader)).status == 403
    assert application.ask("GET", f"{API}/queue", headers=bearer(admin)).status == 200
    assert application.ask("DELETE", own, headers=bearer(reader)).status == 200
    assert application.ask("GET", f"{API}/queue", headers=bearer(reader)).status == 401


def an_ended_job(application: Application, owner: str, spec: JobSpec, job_id: str = "old") -> None:
    store, now = application.store, application.context.now()
    os.makedirs(application.settings.jobs_root, exist_ok=True)
    store.submit(NewJob(id=job_id, owner=owner, spec=spec, body_hash="h", at=now))
    store.request_stop(job_id, StopRequest(kind=StopKind.CANCELLED, who="a person", why="a test", at=now))


def test_a_command_is_not_run_again_without_the_scope_command(application):
    an_ended_job(application, "ada", JobSpec(recipe="command", command=("true",)))
    plain = Actor(owner="ada", scopes=frozenset({Scope.READ, Scope.SUBMIT}))
    with pytest.raises(Forbidden, match="command"):
        force_start(application.context, plain, "old")

    assert application.store.job_with_attempt("old")[0].state is JobState.CANCELLED


def test_a_path_is_not_named_again_by_a_key_that_may_not_name_it(application, tmp_path):
    an_ended_job(application, "ada", JobSpec(recipe="command", command=("true",), cwd=str(tmp_path)))
    able = Actor(owner="ada", scopes=frozenset(Scope))
    with pytest.raises(InvalidRequest, match="data root"):
        force_start(application.context, able, "old")


def test_a_job_that_an_admin_starts_again_stays_its_owner_s(application):
    an_ended_job(application, "ada", JobSpec(recipe="command", command=("true",)))
    admin = Actor(owner="root", scopes=frozenset({Scope.ADMIN}))
    again = force_start(application.context, admin, "old")

    assert application.store.job_with_attempt(again["job_id"])[0].owner == "ada"


def test_a_job_whose_secrets_are_gone_says_so_and_its_true_state(application):
    an_ended_job(application, "local", JobSpec(recipe="command", command=("true",), secrets=("HF_TOKEN",)))
    answer = application.ask("POST", f"{API}/old/force-start")

    assert (answer.status, answer.body["type"].rpartition(":")[2]) == (409, "secrets-gone")
    assert (answer.body["success"], answer.body["previous_status"]) == (False, "cancelled")


def test_why_a_job_waits_does_not_name_the_job_of_another(application, monkeypatch):
    application.ask("POST", f"{API}/execute", body=COMMAND | {"execution_id": "private-name"})
    holder = application.store.job_with_attempt("private-name")[0]
    ada = bearer(application.key("ada", *(set(Scope) - {Scope.ADMIN})))
    application.ask("POST", f"{API}/execute", headers=ada, body=COMMAND | {"execution_id": "adas"})
    application.ask("POST", f"{API}/adas/priority", headers=ada, body={"priority": 5})
    monkeypatch.setattr(type(application.store), "active_jobs", lambda _: [(holder, None)])
    reasons = [
        application.ask("GET", f"{API}/status/adas", headers=headers).body["waiting_reason"] for headers in (ada, {})
    ]

    assert "another user's job" in reasons[0]
    assert "private-name" not in reasons[0]
    assert "private-name" in reasons[1]


def test_a_request_that_is_sent_again_does_not_wait_for_a_look_at_its_data(application, monkeypatch):
    os.makedirs(application.settings.jobs_root, exist_ok=True)
    looks = []
    monkeypatch.setattr(FinetuneRecipe, "resolve", lambda _, spec: looks.append(spec) or spec)
    headers = {"idempotency-key": "one"}
    answers = [application.ask("POST", f"{API}/execute", headers=headers, body={"config": {}}) for _ in range(2)]

    assert [answer.body["created"] for answer in answers] == [True, False]
    assert len({answer.body["job_id"] for answer in answers}) == 1
    assert len(looks) == 1


def test_a_dry_run_shows_where_the_rows_would_lie(application, monkeypatch):
    monkeypatch.setattr(FinetuneRecipe, "resolve", lambda _, spec: spec)
    monkeypatch.setattr(FinetuneRecipe, "launch", lambda *_: _Launch)
    body = {"config": {}, "execution_id": "rows-one", "dataset_content": '{"text": "a"}\n'}
    shown = application.ask("POST", f"{API}/validate-spec", body=body).body["spec"]["dataset_path"]
    application.ask("POST", f"{API}/execute", body=body)

    assert shown == application.store.job_with_attempt("rows-one")[0].spec.dataset_path
    assert os.path.isfile(shown)


def test_a_full_disk_at_a_dry_run_is_said(application, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", full)
    answer = application.ask("POST", f"{API}/validate-spec", body={"config": {}, "dataset_content": "{}"})

    assert (answer.status, answer.body["type"].rpartition(":")[2]) == (507, "storage-full")


class _Launch:
    argv, cwd, env = (), "/", {}
