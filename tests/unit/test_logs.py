"""The server's own log: one line per event, and no secret in it."""

import json

import pytest
import structlog

from stoker.logs import configure, hide_secrets


@pytest.fixture
def logged(capsys):
    """Give what a call wrote to standard error, and leave the logs as they were."""

    def read():
        out, err = capsys.readouterr()
        assert out == ""
        return err

    yield read
    structlog.reset_defaults()


@pytest.mark.parametrize("key", ["token", "HF_TOKEN", "client_secret", "Password", "authorization", "openai_api_key"])
def test_values_of_secrets_are_hidden(key):
    assert hide_secrets(None, "info", {"event": "x", key: "hush"})[key] == "***"


@pytest.mark.parametrize("bad", ["two\nlines", "\x1b[2J", "a\rb", "\x9b31m", "a\x7fb", "a\0b"])
def test_nothing_that_is_logged_can_forge_a_line_or_move_the_cursor(bad):
    event = hide_secrets(None, "info", {"event": bad, "job": bad, "count": 3})

    assert event["event"].isprintable()
    assert event["job"].isprintable()
    assert event["count"] == 3


def test_a_traceback_keeps_its_lines():
    assert hide_secrets(None, "error", {"event": "x", "exception": "a\nb"})["exception"] == "a\nb"


def test_json_lines_hold_the_event_its_level_and_its_facts(logged):
    configure(as_json=True)
    structlog.get_logger().warning("attempt_lost", job="job-1", token="hush")
    (line,) = logged().splitlines()

    facts = json.loads(line)
    assert (facts["event"], facts["level"], facts["job"], facts["token"]) == ("attempt_lost", "warning", "job-1", "***")
    assert facts["timestamp"].endswith("Z")


def test_an_exception_is_logged_with_its_traceback(logged):
    configure(as_json=True)
    try:
        int("why")
    except ValueError:
        structlog.get_logger().exception("tick_crashed")

    assert "ValueError: invalid literal" in json.loads(logged())["exception"]


def test_events_below_the_level_are_left_out(logged):
    configure(as_json=False, level="warning")
    log = structlog.get_logger()
    log.info("quiet")
    log.error("loud", job="a")

    text = logged()
    assert "quiet" not in text
    assert "loud" in text
