"""The exit codes, and the sentences that come with them."""

import json
import socket

import pytest

from stoker.cli.exits import Exit
from tests.daemon.given_jobs import python
from tests.waiting import wait_until

SLEEPS = python("import time; time.sleep(600)")


def test_0_a_job_that_completes(stoker):
    assert stoker("submit", "--wait", "--", *python("pass")).returncode == Exit.OK


def test_1_a_job_that_fails(stoker):
    done = stoker("submit", "--wait", "--", *python("raise SystemExit(3)"))

    assert done.returncode == Exit.FAILED
    assert "failed: The training process exited with code 3." in done.stderr


def test_2_a_flag_that_is_not_known(stoker):
    done = stoker("ls", "--colour")

    assert done.returncode == Exit.USAGE
    assert "No such option" in done.stderr


def test_2_a_command_that_is_not_known(stoker):
    done = stoker("lst")

    assert done.returncode == Exit.USAGE
    assert "lst" in done.stderr


def test_2_a_field_that_is_not_known_is_named_with_the_one_that_was_meant(stoker):
    (stoker.folder / "job.json").write_text(json.dumps({"recipe": "command", "comand": ["true"]}))
    told, as_json = stoker("submit", "job.json"), stoker("submit", "job.json", "--json")

    assert told.returncode == as_json.returncode == Exit.USAGE
    assert "comand: is not known" in told.stderr
    assert "command" in json.loads(as_json.stderr)["errors"][0]["remedy"]
    assert told.stdout == as_json.stdout == ""


def test_2_a_file_that_is_no_yaml(stoker):
    (stoker.folder / "job.yaml").write_text("config: [1, 2\nname: x\n")
    done = stoker("submit", "job.yaml")

    assert done.returncode == Exit.USAGE
    assert "job.yaml: is not valid YAML" in done.stderr
    assert "line 2" in done.stderr


def test_2_a_file_that_is_not_there(stoker):
    done = stoker("submit", "nothing.yaml")

    assert done.returncode == Exit.USAGE
    assert "No such file or directory" in done.stderr
    assert "a command to run goes behind `--`" in done.stderr


def test_2_a_state_that_is_none(stoker):
    done = stoker("ls", "--state", "finished")

    assert done.returncode == Exit.USAGE
    assert "Use one or more of queued" in done.stderr


def test_2_a_span_of_time_that_is_none(stoker):
    done = stoker("submit", "--stall", "soon", "--", "true")

    assert done.returncode == Exit.USAGE
    assert "Use seconds, or a form such as 90s, 10m or 1h30m" in done.stderr


def test_2_an_address_that_is_none(stoker):
    done = stoker("ls", "--url", "localhost:8000")

    assert done.returncode == Exit.USAGE
    assert "Use http://HOST:PORT" in done.stderr


def test_3_no_server(stoker, tmp_path):
    told = stoker("ls", "--url", f"unix:{tmp_path / 'nobody.sock'}")
    as_json = stoker("ls", "--json", "--url", f"unix:{tmp_path / 'nobody.sock'}")

    assert told.returncode == as_json.returncode == Exit.UNREACHABLE
    assert "No server answers at unix:" in told.stderr
    assert "Start one with `stoker serve`" in told.stderr
    assert "No server answers" in json.loads(as_json.stderr)["error"]


def test_4_a_job_that_is_not_there(stoker):
    assert stoker("show", "nobody").returncode == Exit.NOT_FOUND


def test_4_a_key_that_is_not_there(stoker):
    assert stoker("keys", "revoke", "abcdefgh").returncode == Exit.NOT_FOUND


def test_5_a_job_that_stalls(stoker):
    done = stoker("submit", "--wait", "--stall", "0.3s", "--grace", "0", "--", *SLEEPS)

    assert done.returncode == Exit.STALLED
    assert "Training timed out - no progress for 0.3 seconds" in done.stderr


def test_6_a_job_that_has_ended_can_not_be_cancelled(stoker, reported):
    done = stoker("cancel", reported)

    assert done.returncode == Exit.REFUSED
    assert "is completed" in done.stderr


def test_6_an_id_that_is_taken_by_another_job(stoker):
    stoker("submit", "--id", "taken", "--", *python("pass"))
    done = stoker("submit", "--id", "taken", "--", *python("print(1)"))

    assert done.returncode == Exit.REFUSED
    assert "taken" in done.stderr


def test_7_a_key_that_is_not_valid(stoker):
    done = stoker("ls", STOKER_API_KEY="stk_abcdefgh_" + "x" * 43)

    assert done.returncode == Exit.DENIED
    assert "key is not valid" in done.stderr


def test_73_a_home_that_another_server_holds(stoker):
    done = stoker("serve", "--home", str(stoker.server.home), "--port", "0")

    assert done.returncode == Exit.HOME
    assert f"pid {stoker.server.pid}" in done.stderr


def test_98_a_port_that_is_in_use(stoker, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = stoker("serve", "--home", str(tmp_path / "other"), "--port", str(taken.getsockname()[1]))

    assert done.returncode == Exit.PORT
    assert "is in use by another program" in done.stderr
    assert not (tmp_path / "other").exists()


def test_75_a_job_that_is_cancelled_while_it_is_watched(stoker, sleeper, going):
    watching = going("watch", "--json", sleeper)
    watching.stdout.readline()
    stoker("cancel", sleeper)
    watching.communicate(timeout=30)

    assert watching.returncode == Exit.CANCELLED


@pytest.mark.parametrize("words", [("watch",), ("watch", "--json"), ("logs", "-f"), ("logs", "-f", "--json")])
def test_130_ctrl_c_detaches_and_the_job_goes_on(stoker, sleeper, going, words):
    with stoker.client() as client:
        wait_until(lambda: client.logs(sleeper)["total_lines"], 30)
        before = client.status(sleeper)
        watching = going(*words, sleeper)
        (watching.stderr if words == ("watch",) else watching.stdout).readline()
        watching.send_signal(2)
        _, said = watching.communicate(timeout=30)
        after = client.status(sleeper)

        assert watching.returncode == Exit.DETACHED
        assert f"Detached; job {sleeper} goes on. Come back: stoker watch {sleeper}" in said
        assert "Traceback" not in said
        assert (after["status"], after["process_pid"]) == ("running", before["process_pid"])
        assert after["stop_request"] is None


def test_130_ctrl_c_detaches_from_a_submit_that_waits(stoker, going):
    waiting = going("submit", "--wait", "--id", "let-go", "--grace", "0", "--", *SLEEPS)
    wait_until(lambda: "running" in waiting.stderr.readline(), 30)
    waiting.send_signal(2)
    _, said = waiting.communicate(timeout=30)
    with stoker.client() as client:
        status = client.status("let-go")
        client.cancel("let-go")

        assert waiting.returncode == Exit.DETACHED
        assert "Detached; job let-go goes on" in said
        assert (status["status"], status["stop_request"]) == ("running", None)


def test_a_reader_of_a_pipe_that_has_seen_enough_is_no_error(stoker, reported, going):
    listing = going("logs", "--json", reported)
    listing.stdout.close()
    listing.wait(timeout=30)

    assert "Traceback" not in listing.stderr.read()


def test_every_code_has_a_meaning():
    from pathlib import Path  # noqa: PLC0415

    source = Path(__import__("stoker.cli.exits", fromlist=["exits"]).__file__).read_text()

    for code in Exit:
        assert f'    {code.name} = {code.value}\n    """' in source
