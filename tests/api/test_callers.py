"""Who may ask: the server's own Unix user over a local connection, and holders of keys."""

import http.client
import os
import socket
import struct
import subprocess
import sys

import pytest

from stoker.api import peers
from stoker.domain.actor import Scope
from tests.api.given_api import NOBODY, ask_as_nobody
from tests.server import running_server
from tests.waiting import wait_until

QUEUE = "/api/training/queue"
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


@pytest.fixture
def another_user(server):
    """Ask the real server as another user of this machine."""
    return lambda method, path, headers=None: ask_as_nobody(server.port, method, path, headers)


def test_the_own_user_needs_no_key_over_tcp_or_the_unix_socket(server):
    over_socket = ask_on_socket(server.home / "server.sock", QUEUE)

    assert server.get(QUEUE).status == 200
    assert over_socket == 200


@as_root
@pytest.mark.parametrize(
    "path", [QUEUE, "/api/training/jobs", "/metrics", "/openapi.json", "/nothing", "/api/training/stream"]
)
def test_od38_another_user_of_the_machine_needs_a_key(another_user, path):
    answer = another_user("GET", path)

    assert answer.status == 401
    assert "stoker keys create" in answer.body["detail"]


@as_root
def test_another_user_may_ask_how_the_server_is(another_user):
    assert [another_user("GET", path).status for path in ("/health", "/ready")] == [200, 200]


@as_root
def test_another_user_with_a_key_is_its_owner(server, another_user):
    key = make_key(server, owner="ada")
    mine = server.post("/api/training/execute", {"recipe": "command", "command": ["true"]}).body["job_id"]
    headers = {"Authorization": f"Bearer {key}"}

    assert another_user("GET", "/api/training/jobs", headers).body["jobs"] == []
    assert another_user("GET", f"/api/training/status/{mine}", headers).status == 404


@as_root
def test_the_unix_socket_turns_other_users_away(server):
    path = server.home / "server.sock"

    assert path.stat().st_mode & 0o777 == 0o600
    assert server.home.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer stk_aaaaaaaa_" + "a" * 43},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic cm9vdDpyb290"},
        {"Authorization": ""},
        {"Authorization": "stk_aaaaaaaa_" + "a" * 43},
        {"X-API-Key": "stk_aaaaaaaa_" + "a" * 43},
        {"X-API-Key": ""},
        {"X-API-Key": "x" * 5000},
        {"Authorization": "Bearer \u00ff\u00fe"},
    ],
)
def test_a_wrong_key_is_refused_even_from_the_own_user(server, headers):
    answer = server.get(QUEUE, headers)

    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("name", ["Authorization", "X-API-Key"])
def test_a_key_may_come_in_either_header(application, name):
    key = application.key("ada")
    value = f"bearer {key}" if name == "Authorization" else key

    assert application.ask("GET", QUEUE, headers={name: value}, is_own=False).status == 200


def test_two_headers_that_name_different_keys_are_refused(application):
    first, second = application.key("ada"), application.key("bob")
    headers = {"Authorization": f"Bearer {first}", "X-API-Key": second}

    assert application.ask("GET", QUEUE, headers=headers).status == 401


def test_r5_a_key_in_the_address_is_no_key(application):
    key = application.key("ada", Scope.ADMIN)
    answers = [application.ask("GET", f"{QUEUE}?{name}={key}", is_own=False) for name in ("key", "api_key", "token")]

    assert [answer.status for answer in answers] == [401, 401, 401]
    assert not any(key in str(answer.body) for answer in answers)


def test_a_key_that_was_revoked_or_has_expired_opens_nothing(application):
    revoked, expired = application.key("ada"), application.key("ada", days=1e-9)
    application.store.revoke_key(revoked.split("_")[1], application.context.now())
    wait_until(lambda: application.ask("GET", QUEUE, headers=bearer(expired)).status == 401)

    assert application.ask("GET", QUEUE, headers=bearer(revoked)).status == 401


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        ((Scope.READ,), {"read"}),
        ((Scope.SUBMIT,), {"submit"}),
        ((Scope.CANCEL,), {"cancel"}),
        ((Scope.SUBMIT, Scope.COMMAND), {"submit", "command"}),
        ((Scope.READ, Scope.CANCEL), {"read", "cancel"}),
        ((Scope.ADMIN,), {"read", "submit", "cancel", "command", "admin"}),
    ],
)
def test_r5_a_key_may_do_what_its_scopes_say_and_nothing_else(application, scopes, allowed):
    headers = bearer(application.key("ada", *scopes))
    asked = {
        "read": application.ask("GET", "/api/training/jobs", headers=headers),
        "submit": application.ask("POST", "/api/training/execute", headers=headers, body={"config": {}}),
        "cancel": application.ask("POST", "/api/training/cancel/none", headers=headers),
        "command": application.ask(
            "POST", "/api/training/validate-spec", headers=headers, body={"recipe": "command", "command": ["true"]}
        ),
        "admin": application.ask("POST", "/api/training/reconnect", headers=headers),
    }
    let_in = {scope for scope, answer in asked.items() if answer.status != 403}

    assert let_in - {"cancel"} == allowed - {"cancel"}
    assert (asked["cancel"].status == 404) == ({"cancel", "read"} <= allowed)


def test_r6_the_things_of_another_owner_look_as_if_they_were_not_there(application):
    ada, bob = bearer(application.key("ada", *Scope)), bearer(application.key("bob", *(set(Scope) - {Scope.ADMIN})))
    body = {"recipe": "command", "command": ["true"], "execution_id": "adas"}
    application.ask("POST", "/api/training/execute", headers=ada, body=body)
    paths = [
        ("GET", "/api/training/status/{}"), ("GET", "/api/training/metrics/{}"), ("GET", "/api/training/logs/{}"),
        ("GET", "/api/training/checkpoints/{}"), ("GET", "/api/training/{}/errors"), ("GET", "/api/training/{}/events"),
        ("POST", "/api/training/cancel/{}"), ("POST", "/api/training/pause/{}"), ("POST", "/api/training/resume/{}"),
        ("POST", "/api/training/{}/force-start"), ("DELETE", "/api/training/{}"),
    ]  # fmt: skip
    foreign = [application.ask(method, path.format("adas"), headers=bob) for method, path in paths]
    absent = [application.ask(method, path.format("none"), headers=bob) for method, path in paths]
    priority = application.ask("POST", "/api/training/adas/priority", headers=bob, body={"priority": 1})

    assert [a.status for a in foreign] == [404] * len(paths)
    assert [str(a.body).replace("adas", "none") for a in foreign] == [str(a.body) for a in absent]
    assert priority.status == 404
    assert application.ask("GET", "/api/training/jobs", headers=bob).body["jobs"] == []
    assert application.ask("GET", "/api/training/jobs?owner=ada", headers=bob).body["jobs"] == []
    assert application.ask("GET", "/api/training/status/adas", headers=ada).status == 200


def test_an_id_of_another_owner_is_taken_and_its_job_is_not_told_of(application):
    ada, bob = bearer(application.key("ada", *Scope)), bearer(application.key("bob", Scope.SUBMIT, Scope.COMMAND))
    body = {"recipe": "command", "command": ["true"], "execution_id": "shared-id"}
    application.ask("POST", "/api/training/execute", headers=ada, body=body)
    answer = application.ask("POST", "/api/training/execute", headers=bob, body=body)

    assert answer.status == 409
    assert "ada" not in answer.body["detail"]


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "X-Forwarded-Host"])
def test_what_a_proxy_passes_on_needs_a_key_though_the_proxy_is_the_own_user(server, name):
    assert server.get(QUEUE, {name: "1.2.3.4"}).status == 401


def test_user_id_in_a_request_is_a_label_and_gives_no_right(application):
    bob = bearer(application.key("bob", *(set(Scope) - {Scope.ADMIN})))
    body = {"recipe": "command", "command": ["true"], "user_id": "local"}
    job_id = application.ask("POST", "/api/training/execute", headers=bob, body=body).body["job_id"]

    assert application.ask("GET", f"/api/training/status/{job_id}", headers=bob).body["owner"] == "bob"
    assert application.ask("GET", f"/api/training/status/{job_id}", headers=bob).body["user_id"] == "local"


def test_keys_are_made_listed_and_revoked(application):
    made = application.ask("POST", "/api/training/keys", body={"owner": "ada", "name": "laptop", "scopes": ["read"]})
    listed = application.ask("GET", "/api/training/keys").body["keys"]
    headers = bearer(made.body["key"])
    before = application.ask("GET", QUEUE, headers=headers, is_own=False).status
    revoked = application.ask("DELETE", f"/api/training/keys/{made.body['prefix']}")
    after = application.ask("GET", QUEUE, headers=headers, is_own=False).status

    assert (made.status, before, revoked.status, after) == (200, 200, 200, 401)
    assert [(key["prefix"], key["name"], key["scopes"]) for key in listed] == [
        (made.body["prefix"], "laptop", ["read"])
    ]
    assert made.body["key"] not in str(listed)
    assert application.ask("DELETE", f"/api/training/keys/{made.body['prefix']}").status == 404


def test_only_an_admin_makes_keys_and_an_owner_sees_only_own_ones(application):
    ada, bob = bearer(application.key("ada", Scope.READ, Scope.SUBMIT)), application.key("bob", Scope.READ)

    assert application.ask("POST", "/api/training/keys", headers=ada, body={"owner": "ada"}).status == 403
    assert {key["owner"] for key in application.ask("GET", "/api/training/keys", headers=ada).body["keys"]} == {"ada"}
    assert application.ask("DELETE", f"/api/training/keys/{bob.split('_')[1]}", headers=ada).status == 404


@pytest.mark.parametrize(
    "body", [{"owner": "A B"}, {"owner": "ada", "scopes": ["root"]}, {}, {"owner": "ada", "day": 3}]
)
def test_a_wrong_request_for_a_key_names_the_field(application, body):
    answer = application.ask("POST", "/api/training/keys", body=body)

    assert answer.status == 400
    assert all(error["field"] and error["remedy"] for error in answer.body["errors"])


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
@pytest.mark.parametrize("by", ["netlink", "tables"])
def test_the_user_of_a_loopback_peer_is_found_by_either_way(family, address, by, monkeypatch):
    if by == "tables":
        monkeypatch.setattr(peers, "_ask_kernel", lambda *_: None)
    with socket.socket(family) as listener:
        listener.bind((address, 0))
        listener.listen()
        with socket.create_connection(listener.getsockname()[:2]) as client:
            accepted, _ = listener.accept()
            with accepted:
                found = peers.uid_of(accepted.fileno())
                client.close()
                gone = wait_until(lambda: peers.uid_of(accepted.fileno()) is None)

    assert found == os.getuid()
    assert gone


@as_root
@pytest.mark.parametrize("by", ["netlink", "tables"])
def test_the_user_of_a_peer_is_that_of_its_process(by, monkeypatch):
    if by == "tables":
        monkeypatch.setattr(peers, "_ask_kernel", lambda *_: None)
    code = (
        "import encodings.idna, os, socket, sys\n"
        f"os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "held = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); sys.stdin.read()"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        with subprocess.Popen([sys.executable, "-c", code, port], stdin=subprocess.PIPE) as other:
            accepted, _ = listener.accept()
            with accepted:
                found = peers.uid_of(accepted.fileno())
                other.kill()
                other.wait()
                gone = wait_until(lambda: peers.uid_of(accepted.fileno()) is None)

    assert found == NOBODY
    assert gone


@as_root
def test_a_peer_that_left_before_it_was_looked_up_is_nobody():
    """A socket without a process shows as root's: who sends a request and leaves at once must not pass for root."""
    code = (
        "import encodings.idna, os, socket, sys\n"
        f"os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "left = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        "left.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n'); left.close()"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        subprocess.run([sys.executable, "-c", code, str(listener.getsockname()[1])], check=True, timeout=20)
        accepted, _ = listener.accept()
        with accepted:
            assert peers.uid_of(accepted.fileno()) is None


def test_a_listener_on_the_peers_port_does_not_answer_for_the_peer():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = ("127.0.0.1", listener.getsockname()[1])

        assert peers._ask_kernel(peer, ("127.0.0.1", 9)) is None


def test_a_peer_that_left_while_it_was_looked_up_is_nobody(monkeypatch):
    """Its address may be another's by then."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()

        def leave_and_answer(*_: object) -> int:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            return os.getuid()

        monkeypatch.setattr(peers, "_ask_kernel", leave_and_answer)
        with accepted:
            assert peers.uid_of(accepted.fileno()) is None


def test_nobody_is_never_the_own_user(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)

    assert not peers.is_own(NOBODY)
    assert not peers.is_own(None)


def test_a_key_made_over_http_outlives_a_restart(tmp_path):
    with running_server(tmp_path / "home") as server:
        key = make_key(server, owner="ada")
        server.restart()

        assert server.get("/api/training/jobs", bearer(key)).status == 200


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def make_key(server, **request) -> str:
    answer = server.post("/api/training/keys", request)

    assert answer.status == 200, answer.body
    return answer.body["key"]


def ask_on_socket(path, target: str) -> int:
    connection = http.client.HTTPConnection("localhost", timeout=20)
    connection.sock = socket.socket(socket.AF_UNIX)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        connection.sock.connect(f"/proc/self/fd/{folder}/{path.name}")
        connection.request("GET", target)
        return connection.getresponse().status
    finally:
        os.close(folder)
        connection.close()
