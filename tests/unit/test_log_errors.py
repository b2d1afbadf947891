"""Errors found in a log, however hostile its lines are."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.domain.log_errors import MAX_CHARACTERS, find_errors, last_traceback, level_of

TRACEBACK = """\
Traceback (most recent call last):
  File "/srv/train.py", line 12, in main
    step(batch)
  File "/srv/train.py", line 40, in step
    raise ValueError("bad row: 7")
ValueError: bad row: 7""".splitlines()


def test_equal_lines_are_one_group_whatever_their_numbers_are():
    found = find_errors(["ERROR: row 1 is bad", "fine", "ERROR: row 22 is bad", "WARNING: slow"], first_number=100)

    assert [(e.level, e.message, e.line, e.count) for e in found.errors] == [
        ("ERROR", "ERROR: row 1 is bad", 100, 2),
        ("WARNING", "WARNING: slow", 103, 1),
    ]
    assert found.total == 3


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("2026-01-01 CRITICAL - disk", "CRITICAL"),
        ("[rank0] FATAL: no", "FATAL"),
        ("RuntimeError: CUDA", "ERROR"),
        ("torch.cuda.OutOfMemoryError: tried", "ERROR"),
        ("my_module.StrangeException", "ERROR"),
        ("no error here", None),
        ("TERRORS: of style", None),
        ("some text Error: not at the start", None),
        ("", None),
    ],
)
def test_a_line_tells_its_level_by_a_word_or_an_exception_at_its_start(line, level):
    assert level_of(line) == level


def test_the_last_traceback_is_read_with_its_frames():
    found = last_traceback(["x", *TRACEBACK, "y", *TRACEBACK, "after"])

    assert (found.exception_type, found.exception_message) == ("ValueError", "bad row: 7")
    assert [(f.file, f.line, f.function, f.code) for f in found.frames] == [
        ("/srv/train.py", 12, "main", "step(batch)"),
        ("/srv/train.py", 40, "step", 'raise ValueError("bad row: 7")'),
    ]
    assert found.raw == "\n".join(TRACEBACK)


def test_a_traceback_that_is_cut_off_is_shown_as_far_as_it_goes():
    for length in range(1, len(TRACEBACK)):
        found = last_traceback(TRACEBACK[:length])

        assert found.raw == "\n".join(TRACEBACK[:length])
        assert found.exception_type is None


def test_an_exception_without_a_message_has_none():
    found = last_traceback([TRACEBACK[0], "KeyboardInterrupt"])

    assert (found.exception_type, found.exception_message) == ("KeyboardInterrupt", None)


def test_a_log_without_a_traceback_has_none():
    assert last_traceback(["fine"]) is None
    assert find_errors([]).traceback is None


@given(st.lists(st.text(max_size=50) | st.sampled_from(TRACEBACK), max_size=30))
def test_no_line_breaks_it_and_every_line_is_counted_once(lines):
    found = find_errors(lines)

    assert found.total == sum(group.count for group in found.errors)
    assert all(len(group.message) <= MAX_CHARACTERS for group in found.errors)


HOSTILE = {
    "one huge line": ["ERROR " + "x" * 4_000_000],
    "one huge name": ["x" * 4_000_000 + "Error"],
    "digits": ["ERROR " + "1" * 4_000_000],
    "spaces": [" " * 4_000_000 + "ERROR"],
    "quotes": ['  File "' + '"' * 4_000_000],
    "a file name that never ends": [TRACEBACK[0], '  File "' + "a" * 4_000_000],
    "many openings": [TRACEBACK[0]] * 200_000,
    "many frames": [TRACEBACK[0], *[TRACEBACK[1], TRACEBACK[2]] * 100_000],
    "many colons": [":" * 4_000_000],
}


@pytest.mark.parametrize("lines", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_lines_cost_linear_time(lines):
    began = time.process_time()
    find_errors(lines)

    assert time.process_time() - began < 5.0
