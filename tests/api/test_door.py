"""Every request passes one door, and what it does not let in reaches nothing behind it."""

import pytest
from starlette.routing import WebSocketRoute

from stoker.api.door import MAX_HEADER_BYTES, MAX_HEADERS, PUBLIC, SECURITY_HEADERS, Door
from stoker.api.routes import caller
from tests.api.given_api import Application, exchange_raw, raw_connection, read_answer

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
PROBLEM_FIELDS = {"type", "title", "status", "detail", "instance", "errors"}


def every_door(application: Application) -> list[tuple[str, str]]:
    """List every route of the application with every method, what it has and what it has not."""
    found = []
    for route in application.app.routes:
        path = route.path.replace("{job_id}", "some-job").replace("{prefix}", "abcdefgh")
        methods = ("WEBSOCKET",) if isinstance(route, WebSocketRoute) else METHODS
        found += [(method, path) for method in methods]
    return [*found, *(("GET", path) for path in ("/", "/nothing", "/docs", "/redoc", "/static/x", "/api/training"))]


def test_r1_no_route_answers_a_stranger_but_the_public_list(application):
    seen = [(method, path, application.ask(method, path, is_own=False)) for method, path in every_door(application)]
    let_in = {(method, path) for method, path, answer in seen if answer.status != 401}

    assert let_in == PUBLIC
    assert len(seen) > 200
    assert all(answer.headers["www-authenticate"].startswith("Bearer") for *_, answer in seen if answer.status == 401)


def test_r1_the_door_stands_before_every_route_that_is_added(application):
    application.app.add_api_route("/api/training/new/thing", lambda: {"open": True})

    assert [middleware.cls for middleware in application.app.user_middleware] == [Door]
    assert application.ask("GET", "/api/training/new/thing", is_own=False).status == 401
    assert application.ask("GET", "/api/training/new/thing").status == 200


def test_a_handler_without_a_caller_does_not_run():
    class Request:
        scope = {"state": {}}  # noqa: RUF012

    with pytest.raises(KeyError):
        caller(Request())


def test_public_answers_tell_of_no_job(application):
    application.ask("POST", "/api/training/execute", body=command("named-job"))
    answers = [application.ask(method, path, is_own=False) for method, path in sorted(PUBLIC)]

    assert [answer.status for answer in answers] == [200] * len(PUBLIC)
    assert not any("named-job" in str(answer.body) for answer in answers)


HOSTS_LET_IN = [
    "localhost",
    "localhost:8000",
    "LOCALHOST:1",
    "127.0.0.1",
    "127.0.0.1:9",
    "[::1]",
    "[::1]:8000",
    "gpu.lan",
]
HOSTS_REFUSED = [
    "evil.com",
    "localhost.evil.com",
    "127.0.0.1.evil.com",
    "evil.com:8000",
    "10.0.0.9",
    "[::2]",
    "localhost@evil",
]
NO_HOSTS = ["", "localhost:80x", "[::1", "a b", "localhost/", "[::1]x"]


@pytest.mark.parametrize("host", HOSTS_LET_IN)
def test_the_server_answers_under_its_own_names(tmp_path, host):
    with Application(tmp_path / "home", allowed_hosts=("gpu.lan",)) as application:
        assert application.ask("GET", "/api/training/queue", headers={"host": host}).status == 200


@pytest.mark.parametrize("path", ["/api/training/queue", "/health", "/nothing"])
@pytest.mark.parametrize("host", HOSTS_REFUSED)
def test_r3_a_foreign_host_is_refused_everywhere(application, host, path):
    assert application.ask("GET", path, headers={"host": host}).status in (400, 403)


@pytest.mark.parametrize(("bound", "host"), [("0.0.0.0", "0.0.0.0"), ("::", "[::]")])
def test_an_address_that_stands_for_all_is_no_name(tmp_path, bound, host):
    with Application(tmp_path / "home", host=bound) as application:
        assert application.ask("GET", "/health", headers={"host": host}).status == 403


@pytest.mark.parametrize("host", NO_HOSTS)
def test_r3_a_host_that_is_none_is_refused(application, host):
    assert application.ask("GET", "/health", headers={"host": host}).status in (400, 403)


def test_the_address_that_a_connection_came_in_at_is_a_right_host(application):
    answer = application.ask("GET", "/health", headers={"host": "192.168.7.7:8000"}, server=("192.168.7.7", 8000))

    assert answer.status == 200


def test_r3_origins_of_other_sites_are_refused_with_every_method(application):
    origins = ["http://evil.com", "null", "http://localhost:3000", "https://localhost:8000.evil.com", "file://", ""]
    doors = [(method, path) for method, path in every_door(application) if method != "WEBSOCKET"]
    let_in = [
        (method, path, origin)
        for method, path in doors
        for origin in origins
        if application.ask(method, path, headers={"origin": origin}).status != 403
    ]

    assert let_in == []


@pytest.mark.parametrize("site", ["cross-site", "same-site", "CROSS-SITE", "unheard-of"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_r3_what_a_browser_calls_cross_site_is_refused(application, method, site):
    answer = application.ask(method, "/api/training/queue", headers={"sec-fetch-site": site})

    assert answer.status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://localhost:8000"},
        {"origin": "https://localhost:8000"},
        {"host": "localhost", "origin": "http://localhost"},
        {"host": "localhost:80", "origin": "http://localhost"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {},
    ],
)
def test_the_servers_own_pages_and_plain_clients_are_let_in(application, headers):
    assert application.ask("GET", "/api/training/queue", headers=headers).status == 200


def test_r4_no_answer_invites_another_origin(application):
    asked = {"origin": "http://evil.com", "access-control-request-method": "POST"}
    answers = [application.ask("OPTIONS", "/api/training/execute", headers=asked), application.ask("GET", "/health")]

    assert answers[0].status == 403
    assert not [name for answer in answers for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "application/jsonx"],
)
def test_r3_a_body_that_is_not_json_is_refused(application, kind):
    answer = application.ask("POST", "/api/training/execute", body=b"{}", headers={"content-type": kind})

    assert answer.status == 415
    assert "application/json" in answer.body["detail"]


def test_a_form_without_a_body_is_refused_too(application):
    headers = {"content-type": "application/x-www-form-urlencoded", "content-length": "0"}

    assert application.ask("POST", "/api/training/cancel/x", headers=headers).status == 415


def test_json_with_a_charset_is_json(application):
    headers = {"content-type": "Application/JSON; charset=utf-8"}

    assert application.ask("POST", "/api/training/execute", body=command("charset"), headers=headers).status == 200


def test_r18_a_compressed_body_is_refused(application):
    headers = {"content-encoding": "gzip", "content-type": "application/json"}

    assert application.ask("POST", "/api/training/execute", body=b"\x1f\x8b", headers=headers).status == 415


def test_r18_a_body_that_says_it_is_too_large_is_refused_before_it_is_read(application):
    headers = {"content-length": str(2 << 20), "content-type": "application/json"}

    assert application.ask("POST", "/api/training/execute", body=b"{", headers=headers).status == 413


def test_r18_a_body_that_grows_too_large_on_the_way_is_refused(application):
    headers = {"transfer-encoding": "chunked", "content-length": "1", "content-type": "application/json"}
    answer = application.ask("POST", "/api/training/execute", body=b" " * (2 << 20), headers=headers)

    assert answer.status == 413
    assert answer.headers["connection"] == "close"


def test_f6_headers_have_a_limit_in_number_and_in_size(application):
    many = [("x-a", "1")] * (MAX_HEADERS + 1)
    large = {"x-a": "a" * MAX_HEADER_BYTES}

    assert application.ask("GET", "/health", headers=many).status == 431
    assert application.ask("GET", "/health", headers=large).status == 431
    assert application.ask("GET", "/health?" + "a" * 9000).status == 414


@pytest.mark.parametrize(
    "name", ["host", "origin", "authorization", "content-type", "last-event-id", "idempotency-key"]
)
def test_a_header_that_decides_something_may_come_only_once(application, name):
    value = {"host": "localhost"}.get(name, "http://localhost:8000")
    twice = [("host", "localhost"), (name, value), (name, value)]

    assert application.ask("GET", "/api/training/queue", headers=twice).status == 400


def test_every_answer_has_the_headers_that_keep_browsers_careful(application):
    paths = ["/health", "/api/training/queue", "/nothing", "/api/training/status/none"]
    answers = [application.ask("GET", path) for path in paths] + [application.ask("GET", "/x", is_own=False)]

    for answer in answers:
        assert {name.decode() for name, _ in SECURITY_HEADERS} <= set(answer.headers)
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
        assert "date" in answer.headers


def test_nothing_is_changed_before_the_open_attempts_were_looked_for(application):
    application.is_ready = False
    writes = [application.ask("POST", "/api/training/execute", body=command("early")), application.ask("GET", "/ready")]
    reads = [application.ask("GET", path).status for path in ("/api/training/jobs", "/health")]

    assert [answer.status for answer in writes] == [503, 503]
    assert all(answer.headers["retry-after"] == "1" for answer in writes)
    assert reads == [200, 200]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.com"},
        {"host": "evil.com"},
        {"sec-fetch-site": "cross-site"},
        {"authorization": "Bearer no"},
    ],
)
def test_a_websocket_passes_the_same_door(application, headers):
    answer = application.ask("WEBSOCKET", "/ws/training/some-job", headers=headers)

    assert answer.status in (401, 403)
    assert set(answer.body) == PROBLEM_FIELDS


def test_a_websocket_that_is_not_there_is_refused_as_everything_else(application):
    assert application.ask("WEBSOCKET", "/ws/nothing").status == 404


def test_f6_headers_without_an_end_are_cut_off(server):
    status, headers, body = exchange_raw(server.port, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000)

    assert status == 431
    assert headers["content-type"] == "application/problem+json"
    assert b"too large" in body


def test_what_is_no_http_gets_a_problem_too(server):
    status, headers, body = exchange_raw(server.port, b"\x16\x03\x01 hello\r\n\r\n")

    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert b"not-http" in body


def test_r18_a_hundred_megabytes_are_refused_and_the_client_gets_to_see_why(server):
    head = b"POST /api/training/execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with raw_connection(server.port) as connection:
        connection.sendall(head + b"Content-Length: 100000000\r\n\r\n")
        for _ in range(100):
            connection.sendall(b" " * 1_000_000)
        status, headers, body = read_answer(connection)

    assert (status, headers["connection"]) == (413, "close")
    assert b"larger than" in body
    assert server.get("/health").status == 200


def command(job_id: str) -> dict:
    return {"recipe": "command", "command": ["true"], "execution_id": job_id}
