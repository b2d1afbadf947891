"""Which paths a request may name, by who asks."""

import os

import pytest

from stoker.domain.actor import LOCAL_ACTOR, Actor, Scope
from stoker.service.paths import check_path
from stoker.settings import Settings

KEY = Actor(owner="ann", scopes=frozenset({Scope.SUBMIT}))
ADMIN_KEY = Actor(owner="root", scopes=frozenset({Scope.ADMIN}))


@pytest.fixture
def places(tmp_path):
    """Make a data root with a file, and a secret beside it."""
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "deep" / "rows.jsonl").write_text("{}")
    (tmp_path / "data-of-others").mkdir()
    (tmp_path / "data-of-others" / "secret").write_text("x")
    return tmp_path


@pytest.fixture
def settings(places):
    return Settings(home=places / "home", data_roots=(places / "data",))


def problem(settings, actor, path):
    found = check_path(settings, actor, "dataset_path", str(path))
    return None if found is None else found.message


@pytest.mark.parametrize("actor", [KEY, ADMIN_KEY, LOCAL_ACTOR])
def test_a_path_under_a_data_root_may_be_named_by_everyone(settings, places, actor):
    assert problem(settings, actor, places / "data" / "deep" / "rows.jsonl") is None
    assert problem(settings, actor, places / "data") is None


@pytest.mark.parametrize(
    "path",
    [
        "data/../data-of-others/secret",
        "data/deep/../../data-of-others/secret",
        "data-of-others/secret",
        "data/deep/rows.jsonl/../../../data-of-others/secret",
        "data/./../data-of-others",
        "nowhere",
        ".",
    ],
)
def test_a_key_can_not_leave_the_data_roots(settings, places, path):
    named = os.path.join(places, path)

    assert problem(settings, KEY, named) == f"'{named}' is not under a data root of this server"
    assert problem(settings, ADMIN_KEY, named) == f"'{named}' is not under a data root of this server"


def test_a_link_out_of_a_data_root_is_followed_before_the_check(settings, places):
    (places / "data" / "out").symlink_to(places / "data-of-others")
    (places / "data" / "chain").symlink_to(places / "data" / "out" / "secret")
    (places / "data" / "in").symlink_to(places / "data" / "deep")

    assert "not under a data root" in problem(settings, KEY, places / "data" / "out" / "secret")
    assert "not under a data root" in problem(settings, KEY, places / "data" / "chain")
    assert problem(settings, KEY, places / "data" / "in" / "rows.jsonl") is None


def test_a_key_is_not_told_what_exists_outside(settings, places):
    there = problem(settings, KEY, places / "data-of-others" / "secret")
    not_there = problem(settings, KEY, places / "data-of-others" / "secrets")

    assert there.replace("secret", "") == not_there.replace("secrets", "")


def test_a_data_root_may_itself_be_a_link(places):
    (places / "link").symlink_to(places / "data")
    settings = Settings(home=places, data_roots=(places / "link",))

    assert problem(settings, KEY, places / "data" / "deep" / "rows.jsonl") is None
    assert problem(settings, KEY, places / "link" / "deep" / "rows.jsonl") is None


def test_without_data_roots_a_key_may_name_no_path(places):
    found = check_path(Settings(home=places), KEY, "cwd", str(places))

    assert (found.field, "none is set" in found.remedy) == ("cwd", True)


def test_the_own_user_may_name_whatever_is_there(settings, places, monkeypatch):
    monkeypatch.setenv("HOME", str(places))

    assert problem(settings, LOCAL_ACTOR, places / "data-of-others" / "secret") is None
    assert "not an absolute path" in problem(settings, LOCAL_ACTOR, "~/data")
    assert "not an absolute path" in problem(settings, LOCAL_ACTOR, "data")
    assert "does not exist" in problem(settings, LOCAL_ACTOR, places / "nowhere")
    assert "not an absolute path" in problem(settings, KEY, "~/data")


@pytest.mark.parametrize("path", ["a\0b", "\0", "/data/\ud800"])
@pytest.mark.parametrize("actor", [KEY, LOCAL_ACTOR])
def test_what_no_path_can_be_is_refused(settings, actor, path):
    assert problem(settings, actor, path) == "holds characters that no path can have"


def test_a_path_that_is_too_long_or_goes_round_is_refused(settings, places):
    (places / "data" / "round").symlink_to("round")

    assert problem(settings, LOCAL_ACTOR, "/" + "a" * 10_000) is not None
    assert problem(settings, KEY, places / "data" / ("a" * 10_000)) is not None
    assert problem(settings, KEY, places / "data" / "round") is not None


def test_what_can_not_be_read_is_refused_with_the_remedy(settings, places, monkeypatch):
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)  # the tests may run as root, which may read all

    assert "can't be read" in problem(settings, KEY, places / "data")
