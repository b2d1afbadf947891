"""Checkpoints on disk: complete or absent, whatever happens to them."""

import json
import os
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.rundir import checkpoints
from stoker.rundir.checkpoints import Progress, glance, list_checkpoints, newest_complete, newest_verified, seal, verify


def make(root, step, eval_loss=None, sealed=True):
    folder = root / f"checkpoint-{step}"
    (folder / "part").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes([step % 256]) * 1000)
    (folder / "part" / "optimizer.pt").write_bytes(b"o" * step)
    if sealed:
        seal(str(folder), Progress(step=step, epoch=step / 10, loss=1.0, eval_loss=eval_loss))
    return folder


def steps(root):
    return [one["step"] for one in list_checkpoints(str(root))]


def test_a_sealed_folder_is_listed_with_what_was_known_of_it(tmp_path):
    seen = []
    folder = make(tmp_path, 5, sealed=False)
    seal(str(folder), Progress(step=5, epoch=0.5, loss=1.25, eval_loss=1.5), seen.append)
    (found,) = list_checkpoints(str(tmp_path))

    assert seen == [1000, 1005]
    assert verify(str(folder)) is None
    assert (found["path"], found["step"], found["epoch"], found["train_loss"], found["eval_loss"]) == (
        str(folder), 5, 0.5, 1.25, 1.5,
    )  # fmt: skip
    assert found["size_bytes"] == 1005
    assert found["created_at"].endswith("Z")
    assert (found["is_best"], found["is_latest"]) == (True, True)


def test_a_folder_without_a_manifest_is_no_checkpoint(tmp_path):
    folder = make(tmp_path, 5, sealed=False)

    assert steps(tmp_path) == []
    assert newest_verified(str(tmp_path)) is None
    assert newest_complete(str(tmp_path)) is None
    assert "was never finished" in verify(str(folder))
    assert "There is no checkpoint" in verify(str(tmp_path / "none"))


def truncate(path):
    os.truncate(path, 10)


def change(path):
    path.write_bytes(b"z" * path.stat().st_size)


def link(path):
    path.rename(path.parent / "elsewhere")
    path.symlink_to(path.parent / "elsewhere")


@pytest.mark.parametrize(
    ("harm", "words", "seen_at_a_glance"),
    [
        (truncate, "has 10 bytes instead of 1000", True),
        (change, "has other contents than when it was saved", False),
        (os.unlink, "is missing", True),
        (link, "is not a regular file", True),
    ],
)
def test_a_damaged_file_is_named(tmp_path, harm, words, seen_at_a_glance):
    older, newer = make(tmp_path, 1), make(tmp_path, 2)
    harm(newer / "model.safetensors")

    assert "model.safetensors" in verify(str(newer))
    assert words in verify(str(newer))
    assert (glance(str(newer)) is not None) is seen_at_a_glance
    assert newest_verified(str(tmp_path)) == str(older)


ENTRY = b'{"size": 1, "sha256": ""}'


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"step": 1, "files": {}}',
        b'{"step": "1", "files": {"a": %s}}' % ENTRY,
        b'{"step": 1, "files": {"../a": %s}}' % ENTRY,
        b'{"step": 1, "files": {"/a": %s}}' % ENTRY,
        b'{"step": 1, "files": {"a": 3}}',
    ],
)
def test_a_spoilt_manifest_is_refused(tmp_path, manifest):
    folder = make(tmp_path, 1)
    (folder / checkpoints.MANIFEST).write_bytes(manifest)

    assert "can't be read" in verify(str(folder))
    assert steps(tmp_path) == []


def test_the_step_of_a_checkpoint_is_known_by_its_manifest_else_by_its_name(tmp_path):
    folder = make(tmp_path, 7)
    folder.rename(tmp_path / "kept")
    unfinished = make(tmp_path, 9, sealed=False)

    assert checkpoints.step_of(str(tmp_path / "kept")) == 7
    assert checkpoints.step_of(str(unfinished)) == 9
    assert checkpoints.step_of(f"{tmp_path}/checkpoint-300/") == 300
    assert checkpoints.step_of(str(tmp_path / "elsewhere")) is None
    assert checkpoints.step_of(None) is None


def test_the_best_is_the_lowest_evaluation_loss_and_the_latest_the_highest_step(tmp_path):
    for step, loss in [(10, 3.0), (9, 1.0), (100, 2.0), (20, None)]:
        make(tmp_path, step, loss)
    found = list_checkpoints(str(tmp_path))

    assert [one["step"] for one in found] == [9, 10, 20, 100]
    assert [one["is_best"] for one in found] == [True, False, False, False]
    assert [one["is_latest"] for one in found] == [False, False, False, True]
    assert newest_complete(str(tmp_path)).endswith("checkpoint-100")


def test_rotation_spares_the_best_the_newest_and_the_protected(tmp_path):
    for step, loss in [(1, 0.5), (2, 3.0), (3, 2.0), (4, 2.0), (5, 2.0)]:
        make(tmp_path, step, loss)
    gone = checkpoints.rotate(str(tmp_path), 1, (str(tmp_path / "checkpoint-3"),))

    assert [os.path.basename(path) for path in gone] == ["checkpoint-2", "checkpoint-4"]
    assert steps(tmp_path) == [1, 3, 5]


@pytest.mark.parametrize("keep", [None, 0, 9])
def test_rotation_keeps_all_when_it_may(tmp_path, keep):
    for step in (1, 2, 3):
        make(tmp_path, step)

    assert checkpoints.rotate(str(tmp_path), keep) == []
    assert steps(tmp_path) == [1, 2, 3]


def test_a_newest_that_is_damaged_does_not_count_as_the_newest(tmp_path):
    for step in (1, 2, 3):
        make(tmp_path, step)
    truncate(tmp_path / "checkpoint-3" / "model.safetensors")
    checkpoints.rotate(str(tmp_path), 1)

    assert steps(tmp_path) == [2]


def test_what_was_sealed_last_outlives_a_rotation_whatever_its_step(tmp_path):
    for step in (1, 3, 4, 5):
        make(tmp_path, step)
    late = make(tmp_path, 2)
    checkpoints.rotate(str(tmp_path), 1, (str(late),))

    assert steps(tmp_path) == [2, 5]


def test_a_line_that_is_left_is_set_aside_and_goes_when_told(tmp_path):
    for step in (100, 200, 300):
        make(tmp_path, step)
    make(tmp_path, 400, sealed=False)
    gone = checkpoints.set_aside(str(tmp_path), 100, 2)

    assert sorted(os.path.basename(path) for path in gone) == ["checkpoint-200", "checkpoint-300", "checkpoint-400"]
    assert steps(tmp_path) == [100]
    assert verify(str(tmp_path / "abandoned-2" / "checkpoint-300")) is None
    assert sorted(os.listdir(tmp_path)) == ["abandoned-2", "checkpoint-100"]
    assert checkpoints.set_aside(str(tmp_path), 100, 3) == []
    checkpoints.remove_abandoned(str(tmp_path))
    assert os.listdir(tmp_path) == ["checkpoint-100"]


def test_a_setting_aside_that_is_killed_at_any_point_shows_the_old_line_or_the_new_never_a_part(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    for calls in range(1, 60):
        root = tmp_path / str(calls)
        for step in (100, 200, 300):
            make(root, step)
        left = [calls]

        def spend(real, left=left):
            def call(*args, **kwargs):
                left[0] -= 1
                if left[0] < 0:
                    raise Killed
                return real(*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            for name in ("fsync", "rename", "unlink", "mkdir"):
                patch.setattr(os, name, spend(getattr(os, name)))
            try:
                checkpoints.set_aside(str(root), 100, 2)
                finished = True
            except Killed:
                finished = False

        assert steps(root) in ([100], [100, 200, 300])
        checkpoints.set_aside(str(root), 100, 3)
        assert steps(root) == [100]
        if finished:
            return
    pytest.fail("it never came to its end")


def test_sealing_again_replaces_the_manifest(tmp_path):
    folder = make(tmp_path, 1)
    (folder / "more").write_bytes(b"x")
    seal(str(folder), Progress(step=1))

    assert verify(str(folder)) is None
    assert "more" in json.loads((folder / checkpoints.MANIFEST).read_text())["files"]


def test_a_deletion_that_was_cut_short_leaves_no_checkpoint(tmp_path, monkeypatch):
    folder = make(tmp_path, 1)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    checkpoints.remove(str(folder))

    assert folder.exists()
    assert steps(tmp_path) == []


def test_the_unfinished_are_cleared_away_and_nothing_else(tmp_path):
    make(tmp_path, 1)
    make(tmp_path, 2, sealed=False)
    (tmp_path / "notes").mkdir()

    assert [os.path.basename(path) for path in checkpoints.remove_incomplete(str(tmp_path))] == ["checkpoint-2"]
    assert sorted(os.listdir(tmp_path)) == ["checkpoint-1", "notes"]
    assert checkpoints.remove_incomplete(str(tmp_path / "none")) == []


def test_a_save_that_is_killed_at_any_point_leaves_a_checkpoint_that_verifies_or_none(tmp_path, monkeypatch):
    """Stop the sealing at its n-th system call, for every n."""

    class Killed(BaseException):
        pass

    for calls in range(1, 40):
        root = tmp_path / str(calls)
        folder = make(root, 7, sealed=False)
        left = [calls]

        def spend(real, left=left):
            def call(*args, **kwargs):
                left[0] -= 1
                if left[0] < 0:
                    raise Killed
                return real(*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            for name in ("fsync", "rename", "write", "read", "open"):
                patch.setattr(os, name, spend(getattr(os, name)))
            try:
                seal(str(folder), Progress(step=7))
                finished = True
            except Killed:
                finished = False
        found = newest_verified(str(root))

        assert found in (None, str(folder))
        if finished:
            assert found == str(folder)
            return
    pytest.fail("sealing never came to its end")


numbers = st.sampled_from([10**400, -(10**400), 1e300, -1.0, 10**18, True, 2.5, 7, "7", None, [], {}])
names = st.sampled_from(["w", "\0", "\ud800", "a\0b", "", ".", "..", "/etc/hosts", "x" * 300, "manifest.json"])
hostile = st.fixed_dictionaries(
    {"step": st.one_of(numbers, st.just(5))},
    optional={
        **dict.fromkeys(("epoch", "loss", "eval_loss", "created_at"), numbers),
        "files": st.one_of(
            st.dictionaries(names, st.fixed_dictionaries({"size": numbers, "sha256": st.just("\ud800")}), min_size=1),
            numbers,
            st.just({"w": {"size": 1, "sha256": "f" * 64}}),
        ),
    },
)


@given(st.one_of(hostile.map(lambda body: json.dumps(body).encode()), st.binary(max_size=50)), numbers)
def test_no_manifest_whatever_is_in_it_stops_a_listing(tmp_path_factory, content, branch):
    root = tmp_path_factory.mktemp("run")
    (root / "checkpoint-5").mkdir()
    (root / "checkpoint-5" / "w").write_bytes(b"w")
    (root / "checkpoint-5" / "manifest.json").write_bytes(content)
    (root / "branch.json").write_text(json.dumps({"step": branch}))

    checkpoints.list_checkpoints(str(root))
    checkpoints.newest_verified(str(root))
    glance(str(root / "checkpoint-5"))
    verify(str(root / "checkpoint-5"))


@pytest.mark.parametrize(
    "number", [{"epoch": 10**400}, {"created_at": 1e300}, {"created_at": -1}, {"step": 10**400}, {"step": True}]
)
def test_a_manifest_with_a_number_that_no_training_has_is_none(tmp_path, number):
    folder = make(tmp_path, 5)
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | number))

    assert steps(tmp_path) == []
    assert "can't be read" in verify(str(folder))
