"""Values of secrets are in the job's environment and nowhere else."""

import base64
import hashlib
import os
import urllib.parse

import pytest

from stoker.rundir.identity import all_pids, read_proc
from tests.api.given_stream import StreamClient
from tests.daemon.given_jobs import python, status, submit, wait_for
from tests.waiting import wait_until

API = "/api/training"
CANARY = "canary-93f1c7e2-value"
FORMS = {
    CANARY.encode(),
    base64.b64encode(CANARY.encode()).rstrip(b"="),
    urllib.parse.quote(CANARY, safe="").encode(),
    CANARY.encode().hex().encode(),
}


def files_with(root, ignored: str = "secrets.json") -> list[str]:
    """List the files below `root` that hold a canary in any form."""
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if name == ignored or not os.path.isfile(path) or os.path.islink(path):
                continue
            with open(path, "rb") as file:
                data = file.read()
            found += [path for form in FORMS if form in data]
    return found


def test_i17_r14_the_value_of_a_secret_is_nowhere_to_be_found(server):
    """The job checks that it has the value, and the rest of the world that it has not."""
    code = f"""
    import hashlib, os, time
    assert hashlib.sha256(os.environ["HF_TOKEN"].encode()).hexdigest() == {sha(CANARY)!r}
    print("has it", flush=True)
    time.sleep(600)
    """
    job_id = submit(server, python(code), secrets={"HF_TOKEN": CANARY})
    wait_until(lambda: server.get(f"{API}/logs/{job_id}").body["logs"] == ["has it"])
    answers = [
        server.get(path)
        for path in (
            f"{API}/status/{job_id}", f"{API}/{job_id}/events", f"{API}/{job_id}/errors", f"{API}/jobs", f"{API}/queue",
            f"{API}/logs/{job_id}", "/metrics", "/health",
        )
    ]  # fmt: skip
    commands = [pid for pid in all_pids() if CANARY.encode() in read_proc(f"{pid}/cmdline")]
    with StreamClient(server.port, f"?jobs={job_id}&last_event_id=0") as stream:
        seen = stream.until(lambda event: event.kind == "log")
    running = files_with(server.home)
    secret = server.home / "jobs" / job_id / "secrets.json"
    mode = secret.stat().st_mode & 0o777
    server.post(f"{API}/cancel/{job_id}")
    wait_for(server, job_id, "cancelled")

    assert not [answer for answer in answers if CANARY in str(answer.body)]
    assert not [event for event in seen if CANARY in str(event.data)]
    assert commands == []
    assert running == []
    assert mode == 0o600
    assert not secret.exists()
    assert files_with(server.home, ignored="") == []
    assert CANARY not in server.log


@pytest.mark.parametrize(
    "more",
    [
        {"secrets": {"A B": CANARY}},
        {"secrets": {"STOKER_X": CANARY}},
        {"secrets": CANARY},
        {"secrets": [CANARY]},
        {"secrets": {"A": [CANARY]}},
        {"secrets": {"A": CANARY}, "execution_id": "a/b"},
        {"secrets": {"A": CANARY}, "recipe": "nonesuch"},
        {"secrets": {"A": CANARY}, "env": {"A": "1"}},
    ],
)
def test_r14_a_refusal_does_not_repeat_a_secret(server, more):
    answer = server.post(f"{API}/execute", {"recipe": "command", "command": ["true"], **more})

    assert answer.status == 400
    assert CANARY not in str(answer.body)
    assert CANARY not in server.log
    assert files_with(server.home, ignored="") == []


def test_a_dry_run_shows_the_names_of_secrets_only(server):
    body = {"recipe": "command", "command": ["true"], "secrets": {"HF_TOKEN": CANARY}}
    answer = server.post(f"{API}/validate-spec", body)

    assert answer.status == 200
    assert answer.body["spec"]["secrets"] == ["HF_TOKEN"]
    assert CANARY not in str(answer.body)


def test_the_same_id_with_another_value_of_a_secret_is_the_same_request(server):
    """The value is no part of what identifies a request: a digest of it could be guessed at."""
    body = {"recipe": "command", "command": ["true"], "secrets": {"T": CANARY}, "execution_id": "secret-twice"}
    first = server.post(f"{API}/execute", body)
    second = server.post(f"{API}/execute", {**body, "secrets": {"T": "another"}})
    wait_until(lambda: status(server, "secret-twice")["status"] == "completed")

    assert (first.status, second.status, second.body["created"]) == (200, 200, False)


def test_r5_a_key_is_kept_as_a_digest_only(server):
    key = server.post(f"{API}/keys", {"owner": "digest"}).body["key"]
    server.get(f"{API}/jobs", {"Authorization": f"Bearer {key}"})
    secret = key.rpartition("_")[2] if key.count("_") == 2 else key.split("_", 2)[2]
    found = []
    for name in os.listdir(server.home):
        path = server.home / name
        if path.is_file():
            found += [name for part in (key, secret) if part.encode() in path.read_bytes()]

    assert found == []
    assert key not in server.log


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
