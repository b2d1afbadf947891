"""The journal and the vitals: evidence that never gets in the way."""

import json
import os
import time

import pytest

from stoker.rundir.journal import VITALS_BYTES, Journal, Note, Vitals, boottime, read_vitals


def lines_of(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_each_line_has_its_number_and_both_times(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(str(path))
    journal.write(Note.STARTED, pid=7)
    journal.write(Note.EXITED, exit_code=0)
    journal.sync()
    first, second = lines_of(path)

    assert (first["seq"], first["note"], first["pid"]) == (0, "started", 7)
    assert (second["seq"], second["note"], second["exit_code"]) == (1, "exited", 0)
    assert first["t"] <= second["t"] <= boottime()
    assert abs(first["at"] - time.time()) < 60


def test_a_line_that_the_disk_does_not_take_is_passed_over_and_the_next_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "journal.jsonl"
    journal = Journal(str(path))
    journal.write(Note.STARTED)
    plain = os.write

    def nearly_full(descriptor, data):
        monkeypatch.setattr(os, "write", full)
        return plain(descriptor, data[:5])

    def full(_descriptor, _data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", nearly_full)
    journal.write(Note.EXECUTED)
    journal.write(Note.REPORTED)
    monkeypatch.setattr(os, "write", plain)
    journal.write(Note.EXITED)
    journal.write(Note.EMPTY)
    whole = [json.loads(line) for line in path.read_bytes().splitlines() if line.endswith(b"}")]

    assert [(line["seq"], line["note"]) for line in whole] == [(0, "started"), (1, "exited"), (2, "empty")]


def test_vitals_are_rewritten_in_place(tmp_path):
    path = str(tmp_path / "vitals")
    vitals = Vitals(path)
    vitals.show({"phase": "loading", "long": "x" * 500})
    vitals.show({"phase": "training"})

    assert read_vitals(path) == {"phase": "training"}
    assert os.stat(path).st_size == VITALS_BYTES


def test_vitals_that_the_disk_does_not_take_raise_nothing(tmp_path):
    vitals = Vitals("/dev/full")
    vitals.show({"phase": "training"})

    assert read_vitals("/dev/full") is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": NaN}', b"x" * (VITALS_BYTES + 1)])
def test_vitals_that_are_not_whole_are_none(tmp_path, content):
    (tmp_path / "vitals").write_bytes(content)

    assert read_vitals(str(tmp_path / "vitals")) is None
