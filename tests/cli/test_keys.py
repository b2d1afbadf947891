"""Keys from the command line, with a server and without one."""

import json

from stoker.client import Client
from tests.cli.conftest import Stoker
from tests.server import Server, running_server


def without_server(tmp_path):
    return Stoker(Server(tmp_path / "home"), tmp_path)


def test_a_first_key_is_made_before_the_first_start_and_then_opens_the_network(tmp_path):
    stoker = without_server(tmp_path)
    home = ("--home", str(tmp_path / "home"))
    refused = stoker("serve", *home, "--host", "0.0.0.0", "--port", "0", STOKER_URL="")
    made = stoker("keys", "create", "--owner", "ann", *home, STOKER_URL="")
    key = made.stdout.strip()

    assert refused.returncode != 0
    assert "stoker keys create" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert made.returncode == 0, made.stderr
    assert "shown this once" in made.stderr
    with running_server(tmp_path / "home", "--host", "0.0.0.0") as server, Client(server.url, key) as client:
        assert client.jobs()["jobs"] == []


def test_keys_are_listed_and_revoked_without_a_server(tmp_path):
    stoker = without_server(tmp_path)
    home = ("--home", str(tmp_path / "home"))
    prefix = json.loads(stoker("keys", "create", "--name", "one", *home, "--json", STOKER_URL="").stdout)["prefix"]
    listed = stoker("keys", "list", *home, STOKER_URL="")
    gone, again = (
        stoker("keys", "revoke", prefix, *home, STOKER_URL=""),
        stoker("keys", "revoke", prefix, *home, STOKER_URL=""),
    )
    after = json.loads(stoker("keys", "list", *home, "--json", STOKER_URL="").stdout)["keys"]

    assert prefix in listed.stdout
    assert "stk_" not in listed.stdout
    assert (gone.returncode, again.returncode) == (0, 4)
    assert after[0]["revoked_at"] is not None


def test_keys_go_through_the_server_where_one_runs(stoker):
    made = json.loads(stoker("keys", "create", "--owner", "bob", "-s", "read", "--days", "3", "--json").stdout)
    by_home = stoker("keys", "list", "--home", str(stoker.server.home), STOKER_URL="")
    shown = next(
        key for key in json.loads(stoker("keys", "list", "--json").stdout)["keys"] if key["prefix"] == made["prefix"]
    )
    used = stoker("ls", STOKER_URL=stoker.server.url, STOKER_API_KEY=made["key"])
    revoked = stoker("keys", "revoke", made["key"])
    refused = stoker("ls", STOKER_URL=stoker.server.url, STOKER_API_KEY=made["key"])

    assert made["prefix"] in by_home.stdout
    assert (shown["owner"], shown["scopes"]) == ("bob", ["read"])
    assert used.returncode == 0, used.stderr
    assert revoked.returncode == 0, revoked.stderr
    assert refused.returncode == 7
    assert made["key"] not in stoker.server.log


def test_a_server_that_was_named_and_is_not_there_is_not_replaced_by_the_home(stoker, tmp_path):
    nobody = f"unix:{tmp_path / 'nobody.sock'}"

    assert stoker("keys", "create", "--url", nobody).returncode == 3
    assert stoker("keys", "create", STOKER_URL=nobody).returncode == 3


def test_a_scope_that_is_none_is_refused(stoker, tmp_path):
    here = stoker("keys", "create", "-s", "everything")
    there = stoker("keys", "create", "-s", "everything", "--home", str(tmp_path / "new"), STOKER_URL="")

    assert here.returncode == there.returncode == 2
    assert "read, submit, cancel, command, admin" in here.stderr
    assert "read, submit, cancel, command, admin" in there.stderr
