"""How a watched job looks: a bar on a terminal, lines elsewhere."""

import os
import pty
import select
import time

import pytest

from stoker.cli import output
from stoker.cli.progress import Lines, last_words, told
from tests.daemon.given_jobs import REPORTS, python

STATUS = {
    "job_id": "j",
    "status": "running",
    "attempt": 1,
    "current_step": 3,
    "total_steps": 9,
    "progress": 33.3,
    "loss": 0.12345,
    "eval_loss": None,
    "tokens_per_second": 1234.5,
    "samples_per_second": 9.0,
    "eta_seconds": 61.2,
    "phase": "evaluating",
    "suspect": None,
    "waiting_reason": None,
    "stop_request": None,
    "error": None,
    "unclean": False,
    "elapsed_seconds": 5.0,
}


def test_everything_that_is_known_is_told():
    assert list(told(STATUS)) == ["step 3/9", "loss 0.1235", "1.23e+03 tok/s", "1m01s left", "evaluating"]


def test_what_is_not_known_is_left_out():
    quiet = STATUS | {"current_step": None, "loss": None, "tokens_per_second": None, "samples_per_second": None}

    assert list(told(quiet | {"status": "queued", "phase": None, "waiting_reason": "Starts now"})) == ["Starts now"]


def test_a_stop_that_is_on_its_way_shows():
    assert output.state_of(STATUS | {"stop_request": "cancelled"}) == "cancelling"
    assert output.state_of(STATUS | {"stop_request": "paused"}) == "pausing"
    assert output.state_of(STATUS | {"stop_request": "stalled"}) == "stopping"
    assert output.state_of(STATUS | {"status": "cancelled", "stop_request": "cancelled"}) == "cancelled"


def test_last_words_tell_the_end_and_its_cause():
    assert last_words(STATUS | {"status": "completed"}) == "Job j completed after 5s."
    failed = STATUS | {"status": "failed", "error": "It broke", "unclean": True, "elapsed_seconds": None}
    assert last_words(failed) == "Job j failed: It broke. Some of its processes would not die; see `stoker show`."


def test_lines_are_few(capsys):
    with Lines() as lines:
        for _ in range(5):
            lines.show(STATUS)
        lines.show(STATUS | {"status": "paused"})
        lines.lost()

    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == ["running", "paused", "the"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (0.4, "0s"), (59, "59s"), (61, "1m01s"), (3700, "1h01m"), (90_000, "1d01h")]
)
def test_spans_are_told_in_two_units(seconds, text):
    assert output.span(seconds) == text


def test_a_table_of_nothing_has_its_headings(capsys):
    output.table(("JOB", "STATE"), [])

    assert capsys.readouterr().out == "JOB  STATE\n"


def test_on_a_terminal_there_is_a_bar_and_a_coloured_table(stoker):
    job = stoker.submit(python(REPORTS, 20, 0.05))
    seen = on_terminal(stoker, "watch", job)

    assert "step" in seen
    assert "\x1b[" in seen
    assert f"Job {job} completed" in seen
    listed = on_terminal(stoker, "ls")
    assert "JOB" in listed
    assert "\x1b[" in listed


def on_terminal(stoker, *words):
    """Run a command on a terminal of its own; give all that it wrote there."""
    import subprocess  # noqa: PLC0415 - used here alone

    main, side = pty.openpty()
    process = subprocess.Popen(
        stoker.argv(*words), stdin=side, stdout=side, stderr=side, cwd=stoker.folder,
        env=stoker.environment(TERM="xterm-256color", COLUMNS="160"),
    )  # fmt: skip
    os.close(side)
    seen, ends = b"", time.monotonic() + 60
    while time.monotonic() < ends:
        if select.select([main], [], [], 0.2)[0]:
            try:
                seen += os.read(main, 1 << 16)
            except OSError:  # the other side is closed
                break
        elif process.poll() is not None:
            break
    os.close(main)

    assert process.wait(timeout=10) == 0
    return seen.decode()
