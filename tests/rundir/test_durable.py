"""Files that a crash leaves old or new, and readers that nothing lying there can harm."""

import contextlib
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.rundir.durable import (
    MAX_DEPTH,
    MAX_RECORD_BYTES,
    create_durably,
    parse_object,
    read_object,
    read_regular,
    replace,
    settle,
    write_all,
    write_durably,
)
from tests.waiting import wait_until

REWRITER = """
import itertools, sys
from stoker.rundir.durable import write_durably
for turn in itertools.count():
    letter = b"%c" % (97 + turn % 26)
    write_durably(sys.argv[1], letter * (1 + turn * 7919 % 200_000))
"""


def is_whole(data):
    """Tell whether these are the bytes of one write: one letter, all along."""
    return len(set(data)) == 1


def test_od31_a_writer_that_is_killed_at_any_moment_leaves_the_old_or_the_new_content(tmp_path):
    path = str(tmp_path / "record")
    seen = set()
    for turn in range(12):
        writer = subprocess.Popen([sys.executable, "-c", REWRITER, path])
        wait_until(lambda: read_regular(path), why="the first write")
        end = time.monotonic() + 0.03 + turn * 0.007
        while time.monotonic() < end:
            data = read_regular(path)
            assert is_whole(data)
            seen.add(data[:1])
        writer.send_signal(signal.SIGKILL)
        writer.wait()

        assert is_whole(read_regular(path))
    assert len(seen) > 1


def test_what_is_written_is_there_with_its_mode_and_nothing_beside_it(tmp_path):
    path = tmp_path / "record"
    write_durably(str(path), b"one")
    write_durably(str(path), b"two", mode=0o644)

    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["record"]


def test_a_write_that_fails_leaves_the_old_content_and_no_rest(tmp_path, monkeypatch):
    path = tmp_path / "record"
    write_durably(str(path), b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_durably(str(path), b"new")

    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["record"]


@pytest.mark.parametrize("write", [write_durably, create_durably])
def test_threads_of_one_process_that_write_one_record_leave_one_of_theirs_whole(tmp_path, write):
    path = str(tmp_path / "record")
    contents = [bytes([97 + turn]) * 50_000 for turn in range(4)]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(20):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            list(threads.map(write, [path] * 4, contents))

            assert read_regular(path) in contents
    assert os.listdir(tmp_path) == ["record"]


def test_a_link_where_the_temporary_file_goes_is_not_followed(tmp_path):
    name = f"record.{os.getpid()}.{threading.get_native_id()}.new"
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic link"):
        replace(str(tmp_path / "record"), b"x")

    assert not (tmp_path / "elsewhere").exists()


def test_every_byte_is_written_however_little_a_call_takes(tmp_path, monkeypatch):
    plain = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: plain(descriptor, data[:3]))
    descriptor = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    write_all(descriptor, b"0123456789")
    os.close(descriptor)

    assert (tmp_path / "file").read_bytes() == b"0123456789"


def create_each(paths, name, gate, wins):
    """Run in a process of its own: race the others for each path."""
    for path in paths:
        gate.wait()
        if create_durably(path, name):
            wins.put((path, name))


def test_of_many_that_create_one_file_exactly_one_wins_and_its_data_stands(tmp_path):
    context = multiprocessing.get_context("spawn")
    gate, wins = context.Barrier(4, timeout=30), context.SimpleQueue()
    paths = [str(tmp_path / f"claim-{turn:03d}") for turn in range(100)]
    racers = [context.Process(target=create_each, args=(paths, b"%d" % n, gate, wins)) for n in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    winners = []
    while not wins.empty():
        winners.append(wins.get())
    wins.close()

    assert sorted(path for path, _ in winners) == paths
    assert all(read_regular(path) == name for path, name in winners)
    assert sorted(os.listdir(tmp_path)) == [os.path.basename(path) for path in paths]


def test_what_exists_is_not_created_again(tmp_path):
    path = str(tmp_path / "claim")

    assert create_durably(path, b"first")
    assert not create_durably(path, b"second")
    assert read_regular(path) == b"first"
    assert os.listdir(tmp_path) == ["claim"]


def test_files_are_made_durable_together(tmp_path):
    paths = [str(tmp_path / name) for name in "abc"]
    for path in paths:
        replace(path, b"x")
    before = len(os.listdir("/proc/self/fd"))
    settle(paths)

    assert len(os.listdir("/proc/self/fd")) == before
    os.symlink(paths[0], tmp_path / "link")
    with pytest.raises(OSError, match="symbolic link"):
        settle([str(tmp_path / "link")])


# Reading


def fifo(path):
    os.mkfifo(path)


def bound_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


STRANGE = {
    "nothing": lambda _path: None,
    "a pipe": fifo,
    "a folder": lambda path: path.mkdir(),
    "a link to a file": lambda path: path.symlink_to("/etc/hosts"),
    "a link to nothing": lambda path: path.symlink_to("/nowhere"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a socket": bound_socket,
    "a file that is too large": lambda path: path.write_bytes(b"x" * (MAX_RECORD_BYTES + 1)),
    "a huge file with nothing in it": lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 40),
}


@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE.keys())
def test_what_is_no_plain_file_of_a_sound_size_reads_as_nothing_at_once(tmp_path, make):
    path = tmp_path / "record"
    make(path)
    began = time.monotonic()

    assert read_regular(str(path)) is None
    assert read_object(str(path)) is None
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/full", "/proc", "/etc/hosts/x", "a" * 5000])
def test_devices_folders_and_impossible_names_read_as_nothing(device):
    assert read_regular(device) is None


def test_a_file_that_the_disk_does_not_give_back_reads_as_nothing(tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(b"{}")

    def broken(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", broken)

    assert read_regular(str(tmp_path / "x")) is None


def test_a_file_of_exactly_the_largest_size_is_read(tmp_path):
    (tmp_path / "x").write_bytes(b"a" * 10)

    assert read_regular(str(tmp_path / "x"), 10) == b"a" * 10
    assert read_regular(str(tmp_path / "x"), 9) is None


BROKEN = {
    "nothing": None,
    "empty": b"",
    "half": b'{"a": 1, "b',
    "a list": b"[1]",
    "a number": b"7",
    "text": b'"x"',
    "null": b"null",
    "not a number": b'{"a": NaN}',
    "infinite": b'{"a": -Infinity}',
    "beyond a double": b'{"a": [1e309]}',
    "an integer without end": b'{"a": 1' + b"0" * 100_000 + b"}",
    "too deep": b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1),
    "far too deep": b'{"a":' * 100_000 + b"}" * 100_000,
    "lists far too deep": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "no text at all": b"\xff\xfe\x00\xd8",
    "two of them": b"{}{}",
    "a NUL": b"{}\0",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_whole_object_is_none(data):
    assert parse_object(data) is None


def test_an_object_is_read_as_deep_as_records_go():
    data = b'{"a":' * (MAX_DEPTH - 1) + b"1" + b"}" * (MAX_DEPTH - 1)

    assert json.dumps(parse_object(data)).replace(" ", "").encode() == data


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parser(data):
    assert parse_object(data) is None or isinstance(parse_object(data), dict)


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
        max_size=3,
    )
)
def test_what_can_be_written_is_read_back(value):
    assert parse_object(json.dumps(value).encode()) == value
