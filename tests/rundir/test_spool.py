"""Reading what another process appends: whole lines, each once, whatever is done to the file."""

import os
import subprocess
import sys
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.rundir.spool import MAX_LINE_BYTES, Place, read_lines

APPENDER = """
import os, random, sys
descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
random.seed(7)
text = b"".join(b"%d:%s\\n" % (n, b"x" * (n * 37 % 400)) for n in range(int(sys.argv[2])))
while text:
    size = random.choice([1, 3, 50, 4096, 20000])
    text = text[os.write(descriptor, text[:size]):]
"""


def read_all(path, place=None):
    """Read until there is nothing more; give the lines and the place after them."""
    place = place or Place()
    lines = []
    while True:
        some, after = read_lines(str(path), place)
        lines += some
        if after == place:
            return lines, place
        place = after


def test_each_line_of_a_concurrent_appender_is_read_exactly_once(tmp_path):
    path, count = tmp_path / "spool", 20_000
    appender = subprocess.Popen([sys.executable, "-c", APPENDER, str(path), str(count)])
    lines, place, ends_at = [], Place(), time.monotonic() + 60
    while len(lines) < count and time.monotonic() < ends_at:
        some, place = read_lines(str(path), Place.decode(place.encode()))
        lines += some
    appender.wait()

    assert [int(line.split(b":")[0]) for line in lines] == list(range(count))
    assert all(line.endswith(b"x" * (n * 37 % 400)) for n, line in enumerate(lines))
    assert (place.taken, place.dropped, place.offset) == (count, 0, path.stat().st_size)


def test_half_a_line_waits_for_the_rest_of_it(tmp_path):
    path = tmp_path / "spool"
    path.write_bytes(b"one\ntw")
    lines, place = read_lines(str(path), Place())
    again, same = read_lines(str(path), place)
    with path.open("ab") as file:
        file.write(b"o\nthree")
    rest, after = read_lines(str(path), same)

    assert (lines, again, rest) == ([b"one"], [], [b"two"])
    assert same == place
    assert after.taken == 2


def test_empty_lines_are_lines(tmp_path):
    (tmp_path / "spool").write_bytes(b"\n\na\n\n")

    assert read_all(tmp_path / "spool")[0] == [b"", b"", b"a", b""]


@given(st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line)), st.lists(st.integers(1, 60)))
def test_however_a_file_grows_its_lines_are_the_same(tmp_path_factory, lines, cuts):
    path = tmp_path_factory.mktemp("spool") / "spool"
    text = b"".join(line + b"\n" for line in lines)
    found, place = [], Place()
    for cut in [*cuts, len(text)]:
        with path.open("ab") as file:
            file.write(text[:cut])
        text = text[cut:]
        some, place = read_lines(str(path), place)
        found += some

    assert found == lines
    assert place.taken == len(lines)


# Lines without end


def test_a_line_that_is_too_long_is_passed_over_and_counted_and_the_others_are_read(tmp_path):
    path = tmp_path / "spool"
    path.write_bytes(b"before\n" + b"x" * (5 * MAX_LINE_BYTES + 17) + b"\nafter\n" + b"y" * MAX_LINE_BYTES + b"\nend\n")
    lines, place = read_all(path)

    assert lines == [b"before", b"after", b"end"]
    assert place.dropped == 2
    assert place.taken == 3


def test_a_line_that_is_just_short_enough_is_read(tmp_path):
    path = tmp_path / "spool"
    path.write_bytes(b"x" * (MAX_LINE_BYTES - 1) + b"\n")
    lines, place = read_all(path)

    assert [len(line) for line in lines] == [MAX_LINE_BYTES - 1]
    assert place.dropped == 0


def test_a_line_that_grows_too_long_is_given_up_once(tmp_path):
    path = tmp_path / "spool"
    place, lines = Place(), []
    with path.open("ab", buffering=0) as file:
        for _ in range(24):
            file.write(b"x" * (MAX_LINE_BYTES // 8))
            some, place = read_lines(str(path), place)
            lines += some
        file.write(b"\nok\n")
    lines += read_all(path, place)[0]

    assert lines == [b"ok"]
    assert place.dropped == 1


def test_a_line_without_end_takes_no_memory(tmp_path):
    path = tmp_path / "spool"
    with path.open("wb") as file:
        file.truncate(200 << 20)  # two hundred mebibytes of NUL, no newline among them
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast\n")
    tracemalloc.start()
    lines, place = read_all(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert lines == [b"last"]
    assert place.dropped == 1
    assert peak < 8 << 20


# What is done to the file


def test_a_file_that_was_cut_is_read_from_its_start(tmp_path):
    path = tmp_path / "spool"
    path.write_bytes(b"one\ntwo\n")
    _, place = read_all(path)
    path.write_bytes(b"new\n")

    assert read_all(path, place)[0] == [b"new"]


def test_a_file_that_was_replaced_is_read_from_its_start_and_the_count_goes_on(tmp_path):
    path = tmp_path / "spool"
    path.write_bytes(b"one\ntwo\n")
    _, place = read_all(path)
    (tmp_path / "other").write_bytes(b"a long line that makes it longer\nb\n")
    os.rename(tmp_path / "other", path)
    lines, after = read_all(path, place)

    assert lines == [b"a long line that makes it longer", b"b"]
    assert after.taken == 4


def test_a_file_that_was_cut_within_a_line_that_is_too_long_starts_afresh(tmp_path):
    path = tmp_path / "spool"
    path.write_bytes(b"x" * (2 * MAX_LINE_BYTES))
    _, place = read_all(path)
    path.write_bytes(b"one\n")

    assert place.skipping
    assert read_all(path, place)[0] == [b"one"]


STRANGE = {
    "nothing": lambda _path: None,
    "a link": lambda path: path.symlink_to("/etc/hosts"),
    "a pipe": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE.keys())
def test_what_is_no_file_reads_as_empty_and_the_reader_stays_where_it_was(tmp_path, make):
    path = tmp_path / "spool"
    path.write_bytes(b"one\n")
    _, place = read_all(path)
    path.unlink()
    make(path)
    began = time.monotonic()

    assert read_lines(str(path), place) == ([], place)
    assert time.monotonic() - began < 1.0


def test_a_file_that_can_not_be_read_now_reads_as_empty(tmp_path, monkeypatch):
    path = tmp_path / "spool"
    path.write_bytes(b"one\n")

    def broken(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", broken)

    lines, place = read_lines(str(path), Place())
    assert (lines, place.offset, place.taken) == ([], 0, 0)


# Places


@given(st.builds(Place, *[st.integers(0, 2**64)] * 5, st.booleans()))
def test_a_place_is_read_back_as_it_was_written(place):
    assert Place.decode(place.encode()) == place


def test_no_text_is_the_start():
    assert Place.decode("") == Place()
