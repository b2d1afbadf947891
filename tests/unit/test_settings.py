"""The server's settings: flags, then the environment, then defaults."""

from pathlib import Path

import pytest

from stoker.domain.errors import HomeUnusable
from stoker.domain.limits import PHASE_SECONDS
from stoker.settings import Settings, default_home, from_environment


def test_without_anything_there_are_defaults(tmp_path):
    settings = from_environment({"HOME": str(tmp_path), "STOKER_HOME": str(tmp_path)})

    assert (settings.host, settings.port, settings.slots, settings.containment) == ("127.0.0.1", 8000, 1, "auto")
    assert settings.is_loopback
    assert settings.jobs_root == tmp_path / "jobs"
    assert settings.attempts_root == tmp_path / "attempts"
    assert settings.socket == tmp_path / "server.sock"
    assert settings.phase_seconds == {phase.value: seconds for phase, seconds in PHASE_SECONDS.items()}


def test_the_environment_is_read(tmp_path):
    settings = from_environment(
        {
            "STOKER_HOME": str(tmp_path),
            "STOKER_RUNS": str(tmp_path / "runs"),
            "STOKER_HOST": "0.0.0.0",
            "STOKER_PORT": "9000",
            "STOKER_SLOTS": "4",
            "STOKER_DATA_ROOTS": f"{tmp_path}::/srv",
            "STOKER_ALLOWED_HOSTS": "a.example, b.example,",
            "STOKER_DATABASE": "sqlite:///x",
            "STOKER_CONTAINMENT": "sweep",
            "STOKER_LOG_BYTES": "1000",
        }
    )

    assert (settings.host, settings.port, settings.slots) == ("0.0.0.0", 9000, 4)
    assert not settings.is_loopback
    assert settings.jobs_root == tmp_path / "runs" / "jobs"
    assert settings.data_roots == (tmp_path, Path("/srv"))
    assert settings.allowed_hosts == ("a.example", "b.example")
    assert (settings.database, settings.containment, settings.log_bytes) == ("sqlite:///x", "sweep", 1000)


def test_what_is_given_wins_over_the_environment_and_none_is_not_given(tmp_path):
    settings = from_environment({"STOKER_SLOTS": "4", "STOKER_PORT": "1"}, home=tmp_path, slots=2, port=None)

    assert (settings.home, settings.slots, settings.port) == (tmp_path, 2, 1)


def test_an_empty_variable_is_as_good_as_none(tmp_path):
    settings = from_environment({"STOKER_HOME": str(tmp_path), "STOKER_RUNS": "", "STOKER_SLOTS": ""})

    assert (settings.runs, settings.slots) == (None, 1)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SLOTS", "many"),
        ("SLOTS", "-1"),
        ("SLOTS", "1.5"),
        ("PORT", "70000"),
        ("PORT", "-1"),
        ("PORT", "http"),
        ("LOG_BYTES", "0"),
        ("LOG_BYTES", "1 GiB"),
        ("CONTAINMENT", "hope"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_its_name(tmp_path, name, text):
    with pytest.raises(HomeUnusable) as refused:
        from_environment({"STOKER_HOME": str(tmp_path), f"STOKER_{name}": text})

    assert name.lower() in str(refused.value).lower()
    assert text in str(refused.value)


def test_flags_are_checked_as_well(tmp_path):
    with pytest.raises(HomeUnusable, match="slots can't be -3"):
        from_environment({}, home=tmp_path, slots=-3)


def test_a_relative_home_means_the_same_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = from_environment({"STOKER_HOME": "home", "STOKER_RUNS": "runs"})

    assert (settings.home, settings.runs) == (tmp_path / "home", tmp_path / "runs")
    assert from_environment({}, home=Path("other")).home == tmp_path / "other"


@pytest.mark.parametrize(
    ("environment", "home"),
    [
        ({"STOKER_HOME": "/srv/stoker"}, "/srv/stoker"),
        ({"XDG_DATA_HOME": "/data"}, "/data/stoker"),
        ({"STOKER_HOME": "", "XDG_DATA_HOME": ""}, "~/.local/share/stoker"),
        ({"STOKER_HOME": "~/x"}, "~/x"),
    ],
)
def test_the_home_is_found_where_people_expect_it(environment, home):
    assert default_home(environment) == Path(home).expanduser()


@pytest.mark.parametrize(
    ("host", "is_loopback"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("", False)]
)
def test_only_loopback_is_loopback(tmp_path, host, is_loopback):
    assert Settings(home=tmp_path, host=host).is_loopback is is_loopback


def test_stall_limits_of_phases_are_read_and_the_others_keep_their_defaults():
    found = from_environment({"STOKER_PHASE_SECONDS": "training=90, loading=5.5"}).phase_seconds

    assert (found["training"], found["loading"], found["evaluating"]) == (90.0, 5.5, 3600.0)


@pytest.mark.parametrize("text", ["naming=5", "training", "training=", "training=x", "training=-1", "training=inf"])
def test_stall_limits_that_are_none_are_refused(text):
    with pytest.raises(HomeUnusable, match="STOKER_PHASE_SECONDS"):
        from_environment({"STOKER_PHASE_SECONDS": text})
