"""The channel to a directory on this machine, whatever a trainer does to its files."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.engines.directory import UNCUT_BYTES, Cursor, DirectoryChannel, parse_line
from stoker.rundir.journal import Vitals
from stoker.rundir.layout import AttemptDir, RunDir, segment_name
from stoker.rundir.records import StopRecord, encode, read_stop
from stoker.rundir.spool import MAX_LINE_BYTES, Place
from tests.engines.given_engine import make_order


@pytest.fixture
def attempt(tmp_path):
    made = AttemptDir(str(tmp_path / "a"))
    os.makedirs(made.run)
    order = make_order(("true",), progress_files=(RunDir(made.run).progress, str(tmp_path / "progress.json")))
    with open(made.order, "wb") as file:
        file.write(encode(order))
    return made


def channel_of(attempt):
    return DirectoryChannel(attempt)


def report(attempt, data):
    with open(RunDir(attempt.run).metrics, "ab") as file:
        file.write(data)


def say(attempt, data):
    with open(attempt.path(segment_name(0, 0)), "ab") as file:
        file.write(data)


def read_on(attempt, cursor=""):
    """Read as the scheduler does, until there is no more; give the metrics and the last records."""
    metrics = []
    for _ in range(100):
        records = channel_of(attempt).read(cursor)
        metrics += records.metrics
        cursor = records.cursor
        if not records.more:
            return metrics, records
    raise AssertionError("there is always more")


# Lines


def test_a_line_of_many_mebibytes_holds_nothing_up(attempt):
    report(attempt, b'{"step":1}\n{"x":"' + b"x" * (5 * MAX_LINE_BYTES) + b'"}\n{"step":2}\n')
    metrics, records = read_on(attempt)

    assert metrics == [(0, {"step": 1}), (1, {"step": 2})]
    assert records.bad_lines == 1


def test_lines_that_are_no_objects_are_counted_and_have_no_number(attempt):
    report(attempt, b'{"a":1}\n[]\n\nnull\n{"a"\n\xff\xfe\n{"a":2}\n' + b"[" * 100_000 + b"\n")
    metrics, records = read_on(attempt)

    assert metrics == [(0, {"a": 1}), (1, {"a": 2})]
    assert records.bad_lines == 6


@pytest.mark.parametrize("line", [b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":1e999}'])
def test_numbers_that_are_none_are_let_through_to_be_flagged(line):
    assert isinstance(parse_line(line)["a"], float)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b'{"a":"\\ud800"}', {"a": "?"}),
        (b'{"\\udfff":1}', {"?": 1}),
        (b'{"a":"\xed\xa0\x80"}', {"a": "?"}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a":"\\u00e9"}', {"a": "é"}),
        (b'{"a":"\\ud800","b":NaN}', None),
    ],
)
def test_half_characters_become_question_marks(line, value):
    found = parse_line(line)

    assert json.dumps(found, ensure_ascii=False).encode()
    assert value is None or found == value


@given(st.binary(max_size=100))
def test_no_line_breaks_the_parser(line):
    found = parse_line(line)

    assert found is None or json.dumps(found, ensure_ascii=False).encode() is not None


def test_a_spool_that_begins_anew_goes_on_counting(attempt):
    report(attempt, b'{"a":1}\n{"a":2}\n')
    _, records = read_on(attempt)
    os.truncate(RunDir(attempt.run).metrics, 0)
    report(attempt, b'{"a":3}\n')

    assert read_on(attempt, records.cursor)[0] == [(2, {"a": 3})]


def test_what_was_read_to_its_end_is_no_reason_to_read_again(attempt):
    report(attempt, b'{"a":1}\n{"a":2}\n')

    assert not channel_of(attempt).read("").more


def test_what_is_too_much_for_one_read_is_all_read(attempt):
    lines = [b'{"a":"' + bytes([97 + i]) * 300_000 + b'"}\n' for i in range(9)]
    report(attempt, b"".join(lines))
    first = channel_of(attempt).read("")

    assert first.more
    assert 0 < len(first.metrics) < len(lines)
    assert len(read_on(attempt)[0]) == len(lines)


def test_a_file_that_only_appeared_is_no_reason_to_read_again(attempt):
    report(attempt, b"")

    assert not channel_of(attempt).read("").more


# The log


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        (b"", 0),
        (b"half a line", 0),
        (b"one\nhalf", 4),
        (b"one\ntwo\n", 8),
        (b" 10%\r 20%\r 3", 10),
        (b"x" * UNCUT_BYTES, 0),
        (b"x" * (UNCUT_BYTES + 1), UNCUT_BYTES + 1),
    ],
)
def test_a_log_is_cut_after_its_last_line_unless_that_is_far_away(attempt, text, cut):
    say(attempt, text)
    records = channel_of(attempt).read("")

    assert (records.log_from, records.log_to) == (0, cut)
    assert channel_of(attempt).read(records.cursor, final=True).log_to == len(text)


def test_a_log_whose_beginning_was_dropped_is_taken_in_from_where_it_is(attempt):
    with open(attempt.path(segment_name(500, 20)), "wb") as file:
        file.write(b"line\nhalf")

    assert channel_of(attempt).read("").log_to == 505
    assert channel_of(attempt).log_range(0, 600) == (500, b"line\nhalf")
    assert channel_of(attempt).log_lines(0, 5) == (20, [b"line", b"half"])
    assert channel_of(attempt).log_size() == (509, 22)
    assert channel_of(attempt).log_whole_lines() == 21


# The progress file


def progress(attempt, data):
    with open(RunDir(attempt.run).progress, "wb") as file:
        file.write(data)


def test_a_progress_file_that_the_supervisor_did_not_see_move_is_another_jobs(attempt, tmp_path):
    (tmp_path / "progress.json").write_text('{"current_step": 999}')
    before = channel_of(attempt).read("").progress_file
    Vitals(attempt.vitals).show({"watched_by": "log"})

    assert before is None
    assert channel_of(attempt).read("").progress_file is None


def test_a_progress_file_is_given_when_it_changed(attempt):
    progress(attempt, b'{"current_step": 1}')
    first = channel_of(attempt).read("")
    again = channel_of(attempt).read(first.cursor)
    progress(attempt, b'{"current_step": 2}')
    changed = channel_of(attempt).read(again.cursor)

    assert (first.progress_file, again.progress_file) == ({"current_step": 1}, None)
    assert changed.progress_file == {"current_step": 2}


@pytest.mark.parametrize("data", [b"", b"{", b'{"a"', b"[1]", b"null", b"\xff", b"[" * 100_000])
def test_a_progress_file_that_is_not_whole_is_passed_over_until_it_is(attempt, data):
    progress(attempt, data)
    torn = channel_of(attempt).read("")
    progress(attempt, b'{"current_step": 3}')

    assert torn.progress_file is None
    assert channel_of(attempt).read(torn.cursor).progress_file == {"current_step": 3}


def test_a_progress_file_with_a_number_that_is_none_is_shown_as_far_as_it_goes(attempt):
    progress(attempt, b'{"loss": NaN, "current_step": 3}')

    assert channel_of(attempt).read("").progress_file["current_step"] == 3


def test_a_progress_file_with_a_long_history_is_read(attempt):
    progress(attempt, json.dumps({"current_step": 9, "metrics_history": ["x" * 100] * 30_000}).encode())

    assert channel_of(attempt).read("").progress_file["current_step"] == 9


def test_a_link_in_its_place_is_not_followed_and_the_next_file_counts(attempt, tmp_path):
    (tmp_path / "secret").write_text('{"current_step": 666}')
    os.symlink(tmp_path / "secret", RunDir(attempt.run).progress)
    (tmp_path / "progress.json").write_text('{"current_step": 4}')
    Vitals(attempt.vitals).show({"watched_by": "progress.json"})

    assert channel_of(attempt).read("").progress_file == {"current_step": 4}


# Stop, fence, cursor


def test_a_stop_is_kept_though_nobody_listens(attempt):
    stop = StopRecord(kind="paused", who="ann", why="lunch", at=1.0, epoch=2)
    channel_of(attempt).send_stop(stop)

    assert read_stop(attempt.stop) == stop


def test_the_fence_only_rises(attempt):
    for epoch in (3, 5, 4):
        channel_of(attempt).fence(epoch)

    with open(attempt.fence) as file:
        assert file.read() == "5"


places = st.builds(Place, *[st.integers(0, 2**63)] * 5, st.booleans())


@given(st.builds(Cursor, places, places, *[st.integers(0, 2**63)] * 4))
def test_a_cursor_is_read_back_as_it_was_written(cursor):
    assert Cursor.decode(cursor.encode()) == cursor
    assert Cursor.decode("") == Cursor()
