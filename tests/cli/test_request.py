"""From flags and files to the request that is sent."""

import os

import pytest

from stoker.cli.jobfile import read_job
from stoker.cli.options import span
from stoker.cli.request import Given, build
from stoker.domain.errors import InvalidRequest

YAML = """
config:
  training: {learning_rate: 1e-4, num_epochs: 3, warmup_ratio: .05}
  model: {name: 2024-01-01, revision: no, small: 010, odd: 1_0, hex: 0x1f, half: -.5}
env: {ON: on, PORT: 22:30, EMPTY: ~}
name: yes
is_true: true
"""


def written(tmp_path, text, name="job.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def test_yaml_means_what_it_looks_like(tmp_path):
    found = read_job(written(tmp_path, YAML))

    assert found["config"]["training"] == {"learning_rate": 1e-4, "num_epochs": 3, "warmup_ratio": 0.05}
    assert found["config"]["model"] == {
        "name": "2024-01-01", "revision": "no", "small": 10, "odd": "1_0", "hex": 31, "half": -0.5,
    }  # fmt: skip
    assert found["env"] == {"ON": "on", "PORT": "22:30", "EMPTY": None}
    assert (found["name"], found["is_true"]) == ("yes", True)


def test_yaml_can_not_make_objects(tmp_path):
    with pytest.raises(InvalidRequest, match="is not valid YAML"):
        read_job(written(tmp_path, "name: !!python/object/apply:os.system [true]"))


def test_json_is_read_in_a_yaml_file_too(tmp_path):
    assert read_job(written(tmp_path, '{"name": "x", "rate": 1e-4}')) == {"name": "x", "rate": 1e-4}


def test_yaml_without_its_library_is_read_as_json(tmp_path, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("stoker.cli.jobfile.import_module", missing)

    assert read_job(written(tmp_path, '{"name": "x"}')) == {"name": "x"}
    with pytest.raises(InvalidRequest, match="is not valid JSON"):
        read_job(written(tmp_path, "name: x"))


@pytest.mark.parametrize(
    ("text", "told"), [("[1]", "holds no job"), ("", "holds no job"), ("\x00", "is not valid YAML")]
)
def test_a_file_that_holds_no_job_is_refused(tmp_path, text, told):
    with pytest.raises(InvalidRequest, match=told):
        read_job(written(tmp_path, text))


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "job.json").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidRequest, match="is not UTF-8"):
        read_job(str(tmp_path / "job.json"))


def test_flags_win_over_the_file_and_leave_the_rest(tmp_path):
    file = written(tmp_path, '{"name": "file", "user_id": "u", "limits": {"grace_seconds": 1, "stall_seconds": 2}}')
    request = build(Given(file=file, fields={"name": "flag"}, limits={"stall_seconds": 9.0}))

    assert (request["name"], request["user_id"]) == ("flag", "u")
    assert request["limits"] == {"grace_seconds": 1, "stall_seconds": 9.0}


def test_config_is_set_by_path(tmp_path):
    file = written(tmp_path, '{"config": {"training": {"seed": 1, "batch_size": 2}}}')
    request = build(
        Given(
            file=file,
            config={"model.name": "m", "training.batch_size": 8},
            sets=["training.seed=7", "data.strategy=plain text", "training.use_lora=false"],
        )
    )

    assert request["config"] == {
        "model": {"name": "m"},
        "training": {"seed": 7, "batch_size": 8, "use_lora": False},
        "data": {"strategy": "plain text"},
    }


def test_a_command_runs_in_this_folder_and_needs_no_recipe():
    request = build(Given(command=["python", "train.py"]))

    assert request == {"command": ["python", "train.py"], "recipe": "command", "cwd": os.getcwd()}


def test_paths_are_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    request = build(Given(dataset="rows.jsonl", fields={"python": "venv/bin/python", "cwd": "."}, command=["x"]))

    assert request["dataset_path"] == str(tmp_path / "rows.jsonl")
    assert request["python"] == str(tmp_path / "venv/bin/python")
    assert request["cwd"] == str(tmp_path)
    assert build(Given(fields={"python": "my-env"}))["python"] == "my-env"


def test_a_data_set_is_sent_along(tmp_path):
    request = build(Given(dataset=written(tmp_path, "row\n", "rows.jsonl"), upload=True))

    assert request == {"dataset_content": "row\n"}
    with pytest.raises(InvalidRequest, match="can't be sent: No such file"):
        build(Given(dataset=str(tmp_path / "none"), upload=True))


def test_variables_are_given_or_passed_on(monkeypatch):
    monkeypatch.setenv("MINE", "here")

    assert build(Given(env=["A=b=c", "MINE"]))["env"] == {"A": "b=c", "MINE": "here"}
    with pytest.raises(InvalidRequest, match="NOT_MINE is not set"):
        build(Given(env=["NOT_MINE"]))


def test_secrets_come_from_the_environment_or_a_file_and_never_from_the_line(tmp_path, monkeypatch):
    monkeypatch.setenv("TOKEN", "t0p")
    file = written(tmp_path, "s3cret\n", "secret")

    assert build(Given(secrets=["TOKEN", f"OTHER=@{file}"]))["secrets"] == {"TOKEN": "t0p", "OTHER": "s3cret"}
    with pytest.raises(InvalidRequest, match="every user of this machine can read it") as caught:
        build(Given(secrets=["TOKEN=hunter2"]))
    assert "hunter2" not in str(caught.value)
    with pytest.raises(InvalidRequest, match="can't be read"):
        build(Given(secrets=["TOKEN=@/none"]))


@pytest.mark.parametrize("text", ["novalue", "=1", "a..b=1"])
def test_what_sets_nothing_is_refused(text):
    with pytest.raises(InvalidRequest, match="sets nothing"):
        build(Given(sets=[text]))


def test_a_part_that_should_be_a_set_of_fields_is_named(tmp_path):
    with pytest.raises(InvalidRequest, match="config: is not a set of fields"):
        build(Given(file=written(tmp_path, "config: 7"), sets=["a=1"]))


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5", 1.5), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("0", 0)]
)
def test_spans_are_read_in_any_form(text, seconds):
    assert span(text) == seconds


def test_paths_of_a_file_are_relative_to_where_one_stands_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "{dataset_path: rows.jsonl, cwd: here, config: {model: {name: ./base}}}"
    request = build(Given(file=written(tmp_path, text)))

    assert request["dataset_path"] == str(tmp_path / "rows.jsonl")
    assert request["cwd"] == str(tmp_path / "here")
    assert request["config"]["model"]["name"] == str(tmp_path / "base")


def test_a_model_of_the_hub_stays_as_a_file_names_it(tmp_path):
    request = build(Given(file=written(tmp_path, "config: {model: {name: org/base}}")))

    assert request["config"]["model"]["name"] == "org/base"
