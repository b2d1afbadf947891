"""What commands print for people never commands their terminal."""

import json

import pytest

from stoker.cli import output
from stoker.cli.logs import Reader
from stoker.domain.errors import StokerError

HOSTILE = "a\x1b[2Jb\x9bc\r\u202ed\x7f\udc80\te\nf"
SHOWN = "a\\x1b[2Jb\\x9bc\\x0d\\u202ed\\x7f\\udc80\te\nf"


@pytest.mark.parametrize("way", [output.say, output.note])
def test_control_characters_are_written_out(capsys, way):
    way(HOSTILE)
    told = capsys.readouterr()

    assert told.out + told.err == f"{SHOWN}\n"


def test_tables_pairs_and_errors_write_them_out_too(capsys):
    output.table(["NAME"], [["x\x1b[31m"]])
    output.pairs([("name\x1b", "\u2066y")])
    output.complain(StokerError("\x9b31m went wrong"), as_json=False)
    told = capsys.readouterr()

    assert "\x1b" not in told.out
    assert "\u2066" not in told.out
    assert "\x9b" not in told.err


def test_json_keeps_every_character(capsys):
    output.emit({"text": "a\x9b\u202e"})
    output.complain(StokerError("a\x9b\u202e"), as_json=True)
    told = capsys.readouterr()

    assert json.loads(told.out) == {"text": "a\x9b\u202e"}
    assert json.loads(told.err)["error"] == "a\x9b\u202e"


class Cut:
    """A server whose log lost its first five lines."""

    def logs(self, job, *, offset, limit, attempt):
        first = max(offset, 5)
        lines = [f"line {number}" for number in range(first, 8)][:limit]
        return {"logs": lines, "offset": first, "total_lines": 8, "whole_lines": 8}


def test_lines_that_the_cap_dropped_are_told_beside_the_log(capsys):
    found = list(Reader(Cut(), "job", None).rest())

    assert found == [(5, "line 5"), (6, "line 6"), (7, "line 7")]
    assert "Lines 0 to 4 are gone" in capsys.readouterr().err
