"""The rows of a data set: which files and forms are read, and how each fault is said."""

import gzip
import json

import pytest

from stoker.trainer import rows as reading
from stoker.trainer.rows import BadRow, Form, read_rows, survey

GOOD = {"prompt": "a", "completion": "b"}


def write(tmp_path, data, name="rows"):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return str(path)


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    "text",
    [
        lines(GOOD, GOOD),
        "\n" + lines(GOOD) + "\n\n" + json.dumps(GOOD),
        "\ufeff" + lines(GOOD, GOOD),
        json.dumps([GOOD, GOOD]),
        json.dumps([GOOD, GOOD], indent=2),
        json.dumps({"examples": [GOOD, GOOD]}),
        json.dumps({"examples": [GOOD, GOOD]}, indent=2),
        lines(GOOD, GOOD).replace("\n", "\r\n"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_every_kind_of_file_gives_its_rows(tmp_path, text, pack):
    path = write(tmp_path, pack(text.encode()))

    assert list(read_rows(path)) == [(Form.PROMPT_COMPLETION, GOOD)] * 2
    assert survey(path).rows == 2


@pytest.mark.parametrize(
    ("row", "form", "kept"),
    [
        ({"text": "t", "id": 1}, Form.TEXT, {"text": "t"}),
        ({"prompt": "p", "response": "r"}, Form.PROMPT_COMPLETION, {"prompt": "p", "completion": "r"}),
        (
            {"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": "x", "name": "n"}]},
            Form.MESSAGES,
            {"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": "x"}]},
        ),
    ],
)
def test_every_form_is_known_and_other_keys_are_passed_over(tmp_path, row, form, kept):
    assert list(read_rows(write(tmp_path, lines(row)))) == [(form, kept)]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{broken", "The row is not JSON"),
        ("3", "The row is a number, not an object"),
        ("null", "The row is null, not an object"),
        (b'{"text": "\xff"}', "not UTF-8"),
        ('{"text": "\\ud800"}', "half of a surrogate pair"),
        ("[" * 100000 + "]" * 100000, "nested too deeply"),
        ('{"text": ""}', "`text` is empty"),
        ('{"text": " \\n"}', "`text` is empty"),
        ('{"text": null}', "`text` is null, not a text"),
        ('{"prompt": "a"}', "The row has prompt; it needs"),
        ("{}", "The row has nothing; it needs"),
        ('{"prompt": true, "completion": "b"}', "`prompt` is true or false, not a text"),
        ('{"prompt": "a", "response": ["b"]}', "`response` is a list, not a text"),
        ('{"prompt": {}, "completion": "b"}', "`prompt` is an object, not a text"),
        ('{"prompt": "a", "chosen": "b", "rejected": "c"}', "holds a preference"),
        ('{"messages": []}', "a list with at least one message"),
        ('{"messages": "x"}', "a list with at least one message"),
        ('{"messages": ["x"]}', "`messages[0]` is a text, not an object"),
        ('{"messages": [{"role": "boss", "content": "x"}]}', "`messages[0].role` must be one of assistant"),
        ('{"messages": [{"role": "user", "content": 3}]}', "`messages[0].content` is a number"),
        ('{"messages": [{"role": "user", "content": "x"}]}', "no message of the role assistant"),
        ('{"messages": [{"role": "assistant", "content": " "}]}', "`messages[0].content` is empty"),
        ('{"text": "a"}', "has the form text where earlier rows have prompt_completion"),
    ],
)
def test_every_fault_is_said_with_its_row(tmp_path, row, words):
    data = lines(GOOD).encode() + (row if isinstance(row, bytes) else row.encode()) + b"\n" + lines(GOOD).encode()
    path = write(tmp_path, data)
    found = survey(path)

    assert found.rows == 3
    assert [fault.number for fault in found.faults] == [2]
    assert words in str(found.faults[0])
    assert str(found.faults[0]).startswith("Row 2: ")

    with pytest.raises(BadRow, match="Row 2"):
        list(read_rows(path))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "has no rows"),
        (b"\n \n", "has no rows"),
        (b"[]", "has no rows"),
        (b'{\n"rows": []\n}', 'without a list "examples"'),
        (b"[1, 2", "The data set is not JSON"),
        pytest.param(gzip.compress(b"{}" * 1000, mtime=0)[:-12], "The data set is damaged", id="cut short"),
    ],
)
def test_a_file_that_is_no_data_set_is_said_so(tmp_path, data, words):
    faults = survey(write(tmp_path, data)).faults

    assert len(faults) == 1
    assert words in str(faults[0])


def test_the_first_row_may_be_the_bad_one(tmp_path):
    assert [f.number for f in survey(write(tmp_path, '{"prompt": "a", \n' + lines(GOOD))).faults] != []
    assert [f.number for f in survey(write(tmp_path, '{"prompt": oops}\n' + lines(GOOD))).faults] == [1]


def test_only_the_first_of_many_faults_are_collected(tmp_path):
    found = survey(write(tmp_path, "x\n" * 1000), max_faults=5)

    assert len(found.faults) == 5


def test_a_row_or_an_array_that_is_too_long_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_ROW_BYTES", 100)
    monkeypatch.setattr(reading, "MAX_ARRAY_BYTES", 200)

    assert "longer than" in str(survey(write(tmp_path, lines(GOOD, {"text": "x" * 200}))).faults[0])
    assert "JSON Lines" in str(survey(write(tmp_path, json.dumps([GOOD] * 20))).faults[0])


def test_reading_ends_at_the_limit(tmp_path):
    path = write(tmp_path, lines(GOOD, GOOD) + "broken\n")

    assert len(list(read_rows(path, limit=2))) == 2
    assert survey(path, limit=2).faults == ()


def test_real_rows_have_no_fault(real_rows, tmp_path):
    assert survey(write(tmp_path, lines(*real_rows))).faults == ()
