"""The records of an attempt, written and read back, whole or not at all."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.domain.limits import Limits
from stoker.rundir.durable import MAX_DEPTH, parse_object
from stoker.rundir.layout import PROTOCOL, AttemptDir, JobDir, RunDir
from stoker.rundir.records import (
    ExitRecord,
    Order,
    ProcessRecord,
    StopRecord,
    Survivor,
    encode,
    encode_sealed,
    read_exit,
    read_order,
    read_process,
    read_stop,
)
from stoker.rundir.secrets import forget_secrets, keep_secrets

ORDER = Order(
    attempt_id="a-1",
    job_id="job-1",
    number=2,
    nonce="n",
    home_id="h",
    epoch=3,
    argv=("python", "-c", "print('ü\n')", ""),
    env={"A": "1", "B": "$(x)\n"},
    cwd="/tmp",
    gpus=("GPU-1",),
    limits=Limits(stall_seconds=5.0, grace_seconds=0.0, phase_seconds={"training": 1.5}),
    reports=True,
    can_save=True,
    progress_files=("/x/progress.json",),
    containment="sweep",
)
PROCESS = ProcessRecord(boot="b", pid=7, start=99, nonce="n", cgroup="/sys/fs/cgroup/x")
STOP = StopRecord(kind="paused", who="ann", why="lunch", at=1.5, epoch=3)
EXIT = ExitRecord(
    nonce="n",
    at=1700000000.5,
    exit_code=0,
    executed=True,
    stop="paused",
    stop_sent=True,
    survivors=(Survivor(pid=7, start=9, name="a)b", state="D"),),
    outcome={"outcome": "stopped", "step": 7, "deep": {"list": [1, 2.5, None, "ü"]}},
    log_bytes=10,
)

RECORDS = [(ORDER, read_order), (PROCESS, read_process), (STOP, read_stop)]


def written(tmp_path, data):
    path = tmp_path / "record"
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize(("record", "read"), RECORDS)
def test_records_are_read_back_as_they_were_written(tmp_path, record, read):
    assert read(written(tmp_path, encode(record))) == record


@pytest.mark.parametrize(("record", "read"), RECORDS)
def test_fields_of_a_newer_writer_are_passed_over(tmp_path, record, read):
    newer = json.loads(encode(record)) | {"unheard_of": [1, {"x": 2}], "protocol": PROTOCOL + 1}
    path = written(tmp_path, json.dumps(newer).encode())
    found = read(path)

    assert found is not None
    assert dataclasses.replace(found, **({"protocol": PROTOCOL} if hasattr(found, "protocol") else {})) == record


@pytest.mark.parametrize(("record", "read"), RECORDS)
def test_a_record_without_a_field_that_it_needs_is_none(tmp_path, record, read):
    whole = json.loads(encode(record))
    needed = [f.name for f in dataclasses.fields(record) if f.default is f.default_factory is dataclasses.MISSING]
    for name in needed:
        less = {key: value for key, value in whole.items() if key != name}
        assert read(written(tmp_path, json.dumps(less).encode())) is None
    assert needed


@pytest.mark.parametrize(("record", "read"), RECORDS)
def test_a_record_that_is_cut_off_anywhere_is_none(tmp_path, record, read):
    data = encode(record).rstrip()
    for length in range(0, len(data), 7):
        assert read(written(tmp_path, data[:length])) is None


def test_limits_of_an_order_from_elsewhere_are_the_defaults_where_they_make_no_sense(tmp_path):
    strange = json.loads(encode(ORDER)) | {"limits": "none", "argv": ["a"]}
    found = read_order(written(tmp_path, json.dumps(strange).encode()))

    assert found.limits == Limits()
    assert found.argv == ("a",)


def test_a_process_record_gives_the_identity_to_signal_by():
    assert (PROCESS.who.boot, PROCESS.who.pid, PROCESS.who.start) == ("b", 7, 99)


# The exit record


def test_an_exit_record_is_read_back_with_its_survivors(tmp_path):
    assert read_exit(written(tmp_path, encode_sealed(EXIT))) == EXIT


def test_an_exit_record_that_is_cut_off_at_any_byte_is_none(tmp_path):
    sealed = encode_sealed(EXIT)
    for length in range(len(sealed) - 1):  # the last byte is the newline after the seal
        assert read_exit(written(tmp_path, sealed[:length])) is None, length


def test_an_exit_record_with_any_byte_flipped_is_none(tmp_path):
    sealed = encode_sealed(EXIT)
    for place in range(len(sealed) - 1):
        flipped = bytearray(sealed)
        flipped[place] ^= 0x80 if place % 2 else 0x01
        assert read_exit(written(tmp_path, bytes(flipped))) is None, place


def test_an_exit_record_with_anything_after_it_is_none(tmp_path):
    assert read_exit(written(tmp_path, encode_sealed(EXIT) + b"x")) is None
    assert read_exit(written(tmp_path, encode_sealed(EXIT) * 2)) is None


def test_an_exit_record_in_space_that_was_set_aside_counts_only_without_the_rest(tmp_path):
    assert read_exit(written(tmp_path, b"\0" * 16384)) is None
    assert read_exit(written(tmp_path, encode_sealed(EXIT) + b"\0" * 100)) is None


def test_there_is_no_exit_record_where_there_is_no_file(tmp_path):
    assert read_exit(str(tmp_path / "nothing")) is None


def test_a_sealed_record_of_something_else_is_none(tmp_path):
    assert read_exit(written(tmp_path, encode_sealed(STOP))) is None


def test_survivors_that_make_no_sense_are_left_out(tmp_path):
    @dataclasses.dataclass
    class Newer:
        nonce: str = "n"
        at: float = 1.0
        survivors: tuple = (7, {"pid": 1}, {"pid": 1, "start": 2, "name": "x", "state": "D", "more": 1})

    found = read_exit(written(tmp_path, encode_sealed(Newer())))

    assert found.survivors == (Survivor(pid=1, start=2, name="x", state="D"),)


outcomes = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@given(outcomes)
def test_whatever_a_trainer_says_of_its_end_can_be_sealed_and_read_again(tmp_path_factory, said):
    """An outcome that was readable must never make the record unreadable that carries it."""
    outcome = parse_object(json.dumps(said).encode())
    if outcome is None:
        return
    path = tmp_path_factory.getbasetemp() / "exit-record"
    path.write_bytes(encode_sealed(ExitRecord(nonce="n", at=1.0, outcome=outcome)))

    assert read_exit(str(path)).outcome.keys() == outcome.keys()


def test_the_deepest_outcome_that_is_read_can_be_sealed_and_read_again(tmp_path):
    depth = MAX_DEPTH - 1
    outcome = parse_object(b'{"a":' * depth + b"1" + b"}" * depth)
    found = read_exit(written(tmp_path, encode_sealed(ExitRecord(nonce="n", at=1.0, outcome=outcome))))

    assert found.outcome == outcome


# Places


def test_every_record_of_an_attempt_has_a_place_of_its_own():
    attempt = AttemptDir("/a")
    places = [getattr(attempt, name) for name in dir(AttemptDir) if isinstance(getattr(AttemptDir, name), property)]

    assert len(set(places)) == len(places)
    assert all(place.startswith("/a/") for place in places)


def test_the_run_folder_holds_what_the_trainer_may_write_and_nothing_else():
    attempt, run = AttemptDir("/a"), RunDir(AttemptDir("/a").run)
    theirs = [run.metrics, run.beat, run.control, run.outcome, run.progress, run.config, run.stacks(7)]

    assert all(place.startswith(attempt.run + "/") for place in theirs)
    assert not [place for place in (attempt.exit, attempt.order, attempt.stop) if place.startswith(attempt.run + "/")]


def test_secrets_are_kept_for_their_owner_alone_and_go_when_told(tmp_path):
    folder = JobDir(str(tmp_path))
    keep_secrets(folder, {"HF_TOKEN": "hush"})
    kept = tmp_path / "secrets.json"

    assert json.loads(kept.read_text()) == {"HF_TOKEN": "hush"}
    assert kept.stat().st_mode & 0o777 == 0o600
    forget_secrets(folder)
    forget_secrets(folder)
    assert not kept.exists()
    assert {folder.inputs, folder.checkpoints, folder.outputs} == {
        str(tmp_path / "inputs"),
        str(tmp_path / "checkpoints"),
        str(tmp_path / "outputs"),
    }
