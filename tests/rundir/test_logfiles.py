"""The log in its segments, against a plain string of bytes."""

import os
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.rundir.layout import segment_name
from stoker.rundir.logfiles import (
    MAX_LINE_BYTES,
    Segment,
    count_lines,
    count_whole_lines,
    end_byte,
    read_bytes,
    read_last_lines,
    read_lines,
    read_numbered_lines,
    segments,
)


def keep(folder, text, cuts, dropped=0):
    """Write `text` as segments that end at `cuts`, and drop the first ones of them."""
    edges = sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})
    for begin, end in list(pairwise(edges))[dropped:]:
        name = segment_name(begin, text[:begin].count(b"\n"))
        (folder / name).write_bytes(text[begin:end])
    return str(folder)


def lines_of(text):
    """Give the lines of a text as a reader counts them: a last one without a newline included."""
    lines = text.split(b"\n")
    return lines if lines[-1] else lines[:-1]


texts = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\n\n", b"\r", b"long" * 5]), max_size=30).map(b"".join)
cuts = st.lists(st.integers(0, 80), max_size=8)


@given(texts, cuts, st.integers(0, 60), st.integers(0, 60))
def test_bytes_are_those_of_the_whole_log(tmp_path_factory, text, cuts, start, end):
    folder = keep(tmp_path_factory.mktemp("log"), text, cuts)

    begin, data = read_bytes(folder, start, end)
    assert data == text[start:end]
    assert begin == start or not data


@given(texts, cuts, st.integers(0, 40), st.integers(0, 40))
def test_lines_are_those_of_the_whole_log(tmp_path_factory, text, cuts, first, limit):
    folder = keep(tmp_path_factory.mktemp("log"), text, cuts)

    assert read_lines(folder, first, limit) == lines_of(text)[first : first + limit]


@given(texts, cuts)
def test_sizes_are_those_of_the_whole_log(tmp_path_factory, text, cuts):
    folder = keep(tmp_path_factory.mktemp("log"), text, cuts)

    assert end_byte(folder) == len(text)
    assert count_lines(folder) == len(lines_of(text))
    assert count_whole_lines(folder) == text.count(b"\n")


ranges = st.tuples(st.integers(0, 60), st.integers(0, 60))


@given(texts, cuts, st.integers(1, 5), ranges)
def test_what_was_dropped_is_left_out_and_said(tmp_path_factory, text, cuts, dropped, wanted):
    start, end = wanted
    folder = keep(tmp_path_factory.mktemp("log"), text, cuts, dropped)
    kept = segments(folder)
    oldest = kept[0].first_byte if kept else len(text)

    begin, data = read_bytes(folder, start, end)
    assert data == text[max(start, oldest) : end]
    if data:
        assert begin == max(start, oldest)
    if kept:
        assert end_byte(folder) == len(text)
        assert count_lines(folder) == len(lines_of(text))


@given(texts, cuts, st.integers(1, 5), st.integers(0, 30))
def test_lines_that_were_dropped_are_skipped_and_the_others_keep_their_numbers(
    tmp_path_factory, text, cuts, dropped, first
):
    folder = keep(tmp_path_factory.mktemp("log"), text, cuts, dropped)
    kept = segments(folder)
    if not kept:
        assert read_lines(folder, first, 100) == []
        return
    oldest = kept[0]
    there = lines_of(text[oldest.first_byte :])
    expected = there[max(0, first - oldest.first_line) :]

    assert read_lines(folder, first, 100) == expected
    if expected:
        assert read_numbered_lines(folder, first, 100) == (max(first, oldest.first_line), expected)


def test_segments_are_in_order_and_other_files_are_passed_over(tmp_path):
    for name in ("log.0000000000000100.0000000000000009", "log.0000000000000000.0000000000000000", "log.x.y", "log.1"):
        (tmp_path / name).touch()
    (tmp_path / "metrics.jsonl").touch()

    assert [(s.first_byte, s.first_line) for s in segments(str(tmp_path))] == [(0, 0), (100, 9)]


def test_an_empty_attempt_has_an_empty_log(tmp_path):
    folder = str(tmp_path)

    assert (end_byte(folder), count_lines(folder)) == (0, 0)
    assert (read_bytes(folder, 5, 9), read_lines(folder, 0, 10)) == ((5, b""), [])


def test_a_segment_that_is_gone_has_no_size(tmp_path):
    assert Segment(0, 0, str(tmp_path / "log.0.0")).size == 0


def test_a_line_longer_than_any_segment_is_one_line(tmp_path):
    text = b"first\n" + b"x" * 1000 + b"\nlast\n"
    folder = keep(tmp_path, text, range(0, len(text), 64))

    assert read_lines(folder, 1, 1) == [b"x" * 1000]
    assert read_lines(folder, 2, 1) == [b"last"]
    assert count_lines(folder) == 3


def test_a_segment_that_was_begun_and_is_still_empty_changes_no_count(tmp_path):
    folder = keep(tmp_path, b"one\ntw", [4])
    (tmp_path / segment_name(6, 1)).touch()

    assert count_lines(folder) == 2
    assert read_lines(folder, 1, 5) == [b"tw"]


def test_a_huge_line_is_cut_to_its_beginning(tmp_path):
    huge = b"".join(b"%08d" % n for n in range(3 * MAX_LINE_BYTES // 8))
    folder = keep(tmp_path, huge + b"\nnext\n", [])

    assert read_lines(folder, 0, 5) == [huge[:MAX_LINE_BYTES], b"next"]


def test_lines_are_given_within_a_bound_of_bytes(tmp_path):
    folder = keep(tmp_path, b"0123456789\n" * 100, [])

    assert len(read_lines(folder, 0, 1000, max_bytes=95)) == 10


def test_a_link_in_place_of_a_segment_is_not_followed(tmp_path):
    (tmp_path / segment_name(0, 0)).symlink_to("/etc/hosts")

    with pytest.raises(OSError, match="symbolic link"):
        read_lines(str(tmp_path), 0, 10)


# Segments that are dropped while they are read


def drop_on_open(monkeypatch, folder, count):
    """Drop the oldest segments at the moment at which the first one is opened."""
    plain, dropped = os.open, []

    def opening(path, *arguments):
        while not dropped[count - 1 :]:
            dropped.append(segments(folder)[0].path)
            os.unlink(dropped[-1])
        return plain(path, *arguments)

    monkeypatch.setattr(os, "open", opening)


def test_lines_keep_their_numbers_while_segments_are_dropped(tmp_path, monkeypatch):
    lines = [b"line %02d" % n for n in range(40)]
    folder = keep(tmp_path, b"\n".join(lines) + b"\n", range(0, 320, 40))
    drop_on_open(monkeypatch, folder, 2)

    assert read_numbered_lines(folder, 3, 100) == (10, lines[10:])


def test_bytes_say_where_they_begin_while_segments_are_dropped(tmp_path, monkeypatch):
    text = bytes(range(97, 123)) * 4
    folder = keep(tmp_path, text, range(0, len(text), 10))
    drop_on_open(monkeypatch, folder, 3)
    begin, data = read_bytes(folder, 5, 80)

    assert begin == 30
    assert data == text[30:80]


def test_bytes_never_jump_over_a_gap(tmp_path):
    text = bytes(range(97, 123)) * 2
    folder = keep(tmp_path, text, range(0, len(text), 10))
    os.unlink(segments(folder)[2].path)

    assert read_bytes(folder, 0, 50) == (0, text[:20])


@given(texts, cuts, st.tuples(st.integers(0, 60), st.integers(0, 60)), st.integers(1, 60))
def test_the_last_of_the_lines_are_kept_within_the_bound(tmp_path_factory, text, cuts, page, bound):
    first, limit = page
    folder = keep(tmp_path_factory.mktemp("log"), text, cuts)
    begin, lines = read_last_lines(folder, first, limit, max_bytes=bound)
    asked = lines_of(text)[first : first + limit]

    assert lines == asked[len(asked) - len(lines) :]
    assert begin == first + len(asked) - len(lines)
    assert len(lines) <= 1 or sum(map(len, lines)) <= bound
    assert lines == asked or sum(map(len, asked[-len(lines) - 1 :])) > bound
