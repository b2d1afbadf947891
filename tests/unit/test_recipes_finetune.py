"""The recipe `finetune`: what it refuses, in which words, and what it launches."""

import dataclasses
import gzip
import json
import os
import subprocess
import sys

import pytest

from stoker.domain.errors import InvalidRequest
from stoker.domain.spec import JobSpec
from stoker.recipes.finetune import FinetuneRecipe, chosen_threads
from stoker.recipes.finetune_config import FinetuneConfig, Model, Training
from stoker.recipes.port import LaunchRequest
from stoker.rundir.checkpoints import Progress, seal

ROWS = [{"prompt": f"{n} + 1 =", "completion": f" {n + 1}"} for n in range(10)]


@pytest.fixture
def model(tmp_path):
    """A folder that looks like a saved model."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    return str(folder)


@pytest.fixture
def rows(tmp_path):
    """A data set of ten good rows."""
    return write_rows(tmp_path, ROWS)


def write_rows(folder, rows, name="rows.jsonl"):
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def spec_of(model, rows, **config):
    return JobSpec(config={"model": {"name": model}, **config}, dataset_path=rows)


def problems_of(spec):
    with pytest.raises(InvalidRequest) as refused:
        FinetuneRecipe().resolve(spec)
    return {problem.field: problem for problem in refused.value.problems}


def problem_of(spec, field):
    found = problems_of(spec)

    assert list(found) == [field]
    return str(found[field])


def resolve(spec):
    return FinetuneRecipe().resolve(spec)


def launch(spec, tmp_path, **changes):
    request = LaunchRequest(
        job_id="j", spec=spec, attempt=1, job_dir=str(tmp_path / "job"), run_dir=str(tmp_path / "run"),
        resume_from=None, environment=os.environ,
    )  # fmt: skip
    return FinetuneRecipe().launch(dataclasses.replace(request, **changes))


def test_the_least_config_gets_every_default(model, rows):
    config = resolve(spec_of(model, rows)).config

    assert config["training"]["method"] == "sft"
    assert config["training"]["learning_rate"] == 5e-5
    assert config["training"]["lora_config"] == {
        "r": 16, "lora_alpha": 32.0, "alpha": None, "lora_dropout": 0.1, "dropout": None,
        "target_modules": "all-linear",
    }  # fmt: skip
    assert config["eval_split"] == 0.2
    assert config["training"]["cpu_threads"] >= 1


def test_a_resolved_spec_resolves_to_itself(model, rows):
    first = resolve(spec_of(model, rows, lora={"r": 4, "alpha": 8, "dropout": 0.0}, data={"train_split": 0.9}))

    assert resolve(first) == first
    assert first.config["training"]["lora_config"]["lora_alpha"] == 8.0
    assert first.config["eval_split"] == 0.1


def test_nothing_is_held_out_when_nothing_is_evaluated(model, rows):
    config = resolve(spec_of(model, rows, training={"evaluation_strategy": "no"})).config

    assert config["eval_split"] == 0.0


def test_all_problems_come_at_once_each_with_its_path_and_remedy(tmp_path):
    spec = JobSpec(
        config={
            "model": {"name": "org/model", "trust_remote_code": True},
            "training": {
                "batch_size": True,
                "learning_rate": float("nan"),
                "num_epochs": "3",
                "lr": 1,
                "optim": "magic",
            },
            "lora": {"target_modules": [1]},
            "extras": 1,
        },
        dataset_path=str(tmp_path),
    )
    found = problems_of(spec)

    assert set(found) == {
        "config.model.trust_remote_code", "config.training.batch_size", "config.training.learning_rate",
        "config.training.num_epochs", "config.training.lr", "config.training.optim", "config.lora.target_modules[0]",
        "config.extras",
    }  # fmt: skip
    assert all(problem.remedy for problem in found.values())


@pytest.mark.parametrize(
    ("training", "field", "words"),
    [
        ({"batch_size": True}, "batch_size", "is true, not a whole number"),
        ({"batch_size": 2.0}, "batch_size", "not a whole number"),
        ({"batch_size": 0}, "batch_size", "Give a number above 0"),
        ({"learning_rate": float("inf")}, "learning_rate", "an infinite number, not a finite number"),
        ({"learning_rate": True}, "learning_rate", "is true, not a number"),
        ({"learning_rate": "5e-5"}, "learning_rate", "without quotes"),
        ({"bf16": 1}, "bf16", "Give true or false"),
        ({"method": "dpo"}, "method", "'dpo' is not available yet"),
        ({"method": "teacher_mode"}, "method", "not available yet"),
        ({"method": "sfft"}, "method", "Did you mean 'sft'?"),
        ({"load_in_4bit": True}, "load_in_4bit", "quantization, which is not available yet"),
        ({"max_steps": 0}, "max_steps", "Give a number above 0"),
        ({"bf16": True, "fp16": True}, "fp16", "together with bf16"),
        ({"warmup_steps": 5, "warmup_ratio": 0.1}, "warmup_ratio", "together with warmup_steps"),
        ({"group_by_length": True, "packing": True}, "group_by_length", "together with packing"),
        ({"learning_rte": 1.0}, "learning_rte", "Did you mean 'learning_rate'?"),
        ({"per_device_train_batch_size": 4}, "per_device_train_batch_size", "It is called 'batch_size' here"),
        ({"beta": 0.1}, "beta", "a method that is not available yet"),
        ({"torch_dtype": "auto"}, "torch_dtype", "It belongs to config.model.torch_dtype"),
        ({"use_streaming": True}, "use_streaming", "false, or leave it out"),
        ({"seed": -1}, "seed", "at least 0"),
        ({"assistant_only_loss": True}, "assistant_only_loss", "form prompt_completion"),
        ({"lora_config": {"alpha": 1, "lora_alpha": 2}}, "lora_config.alpha", "differs from lora_alpha"),
    ],
)
def test_a_wrong_training_setting_is_refused_with_words(model, rows, training, field, words):
    assert words in problem_of(spec_of(model, rows, training=training), f"config.training.{field}")


@pytest.mark.parametrize(
    ("config", "field", "words"),
    [
        ({"quantization": {"load_in_8bit": True}}, "quantization.load_in_8bit", "not available yet"),
        ({"tensorboard": {"enabled": True}}, "tensorboard.enabled", "not available yet"),
        ({"predictions": {"enabled": True}}, "predictions.enabled", "not available yet"),
        ({"output_dir": "/x"}, "output_dir", "the job's own folder"),
        ({"eval_split": 0.1, "data": {"eval_split": 0.2}}, "eval_split", "0.1 and 0.2"),
        ({"data": 3}, "data", "is 3, not an object"),
        ({"tokenizer": {"name": "/nowhere"}}, "tokenizer.name", "is no folder"),
        ({"resume_from_checkpoint": "/nowhere"}, "resume_from_checkpoint", "There is no checkpoint"),
        ({"resume_from_checkpoint": "here"}, "resume_from_checkpoint", "not an absolute path"),
        ({"checkpoint_resume": {"checkpoint_path": "/nowhere"}}, "resume_from_checkpoint", "There is no checkpoint"),
        ({"lora": {"r": 1}, "training": {"lora_config": {"r": 2}}}, "lora", "Give it once"),
    ],
)
def test_a_wrong_setting_is_refused_with_words(model, rows, config, field, words):
    assert words in problem_of(spec_of(model, rows, **config), f"config.{field}")


def test_what_the_original_sends_switched_off_is_taken(model, rows):
    config = {
        "quantization": {"load_in_4bit": False, "bnb_4bit_quant_type": "nf4"},
        "tensorboard": {"enabled": False, "log_dir": "x"},
        "predictions": {"enabled": False, "sample_count": 5},
        "training": {"dataloader_prefetch_factor": 2, "max_steps": -1, "pretokenize": True},
        "execution_id": "abc",
    }

    assert resolve(spec_of(model, rows, **config)).config["training"]["max_steps"] is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/nowhere/model", "is no folder"),
        ("../model", "no name on the Hub"),
        ("a b", "no name on the Hub"),
        ("a/b/c", "no name on the Hub"),
    ],
)
def test_a_model_that_is_not_there_is_refused(rows, name, words):
    assert words in problem_of(spec_of(name, rows), "config.model.name")


def test_a_name_on_the_hub_is_left_to_the_trainer(rows):
    assert resolve(spec_of("Qwen/Qwen2.5-0.5B", rows)).config["model"]["name"] == "Qwen/Qwen2.5-0.5B"


@pytest.mark.parametrize("missing", ["config.json", "weights"])
def test_a_folder_without_a_model_is_refused(model, rows, missing):
    os.unlink(os.path.join(model, "model.safetensors" if missing == "weights" else missing))

    assert f"holds no {missing}" in problem_of(spec_of(model, rows), "config.model.name")


def test_a_model_without_a_tokenizer_needs_one_named(model, rows):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        os.unlink(os.path.join(model, name))

    assert "Name a tokenizer" in problem_of(spec_of(model, rows), "config.tokenizer.name")


def test_messages_need_a_chat_template(model, tmp_path):
    chat = [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}]
    path = write_rows(tmp_path, chat)

    assert "no chat template" in problem_of(spec_of(model, path), "dataset_path")

    with open(os.path.join(model, "tokenizer_config.json"), "w") as file:
        json.dump({"chat_template": "{{ messages }}"}, file)

    assert resolve(spec_of(model, path))


def test_every_bad_row_is_named_by_its_number(model, tmp_path):
    path = write_rows(tmp_path, [*ROWS, {"prompt": 1, "completion": "x"}, *ROWS, {"text": "x"}, {"prompt": "x"}])
    found = problems_of(spec_of(model, path))

    assert list(found) == ["dataset_path[11]", "dataset_path[22]", "dataset_path[23]"]
    assert "Row 11: `prompt` is a number, not a text" in str(found["dataset_path[11]"])


def test_rows_beyond_max_samples_are_not_judged(model, tmp_path):
    path = write_rows(tmp_path, [*ROWS, {"nothing": 1}])

    assert resolve(spec_of(model, path, data={"max_samples": 10}))


def test_a_compressed_data_set_is_read(model, tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in ROWS).encode()))

    assert resolve(spec_of(model, str(path)))


def test_a_data_set_must_be_given_once(model, rows, tmp_path):
    other = write_rows(tmp_path, ROWS, "other.jsonl")

    assert "is missing" in problem_of(JobSpec(config={"model": {"name": model}}), "dataset_path")
    assert "Give it once" in problem_of(spec_of(model, rows, dataset_path=other), "dataset_path")
    assert resolve(JobSpec(config={"model": {"name": model}, "dataset_path": rows})).dataset_path == rows


def test_a_data_set_that_is_not_there_is_refused(model, tmp_path):
    assert "can't be read" in problem_of(spec_of(model, str(tmp_path / "none")), "dataset_path")


def test_fields_of_other_recipes_are_refused(model, rows):
    spec = dataclasses.replace(spec_of(model, rows), command=("ls",), cwd="/tmp", gpus=2, python="/nowhere")

    assert set(problems_of(spec)) == {"command", "cwd", "gpus", "python"}


def test_a_complete_checkpoint_may_be_resumed_from(model, rows, tmp_path):
    folder = tmp_path / "checkpoint-3"
    folder.mkdir()
    (folder / "optimizer.pt").write_bytes(b"123")
    seal(str(folder), Progress(step=3))
    by_either_name = [{"resume_from_checkpoint": str(folder)}, {"checkpoint_resume": {"checkpoint_path": str(folder)}}]

    assert [resolve(spec_of(model, rows, **c)).config["resume_from_checkpoint"] for c in by_either_name] == [
        str(folder)
    ] * 2


def test_every_path_that_will_be_read_is_named(model, rows):
    spec = spec_of(model, rows, resume_from_checkpoint="/c", data={"dataset_path": "/d"}, tokenizer={"name": "org/t"})

    assert FinetuneRecipe().paths(spec) == (
        ("dataset_path", rows),
        ("config.model.name", model),
        ("config.data.dataset_path", "/d"),
        ("config.resume_from_checkpoint", "/c"),
    )


def test_config_that_is_no_json_is_refused(rows):
    assert "can't be written as JSON" in problem_of(JobSpec(config={"model": {1, 2}}, dataset_path=rows), "config")


def test_the_schema_names_every_field_and_describes_it():
    schema = FinetuneRecipe().schema()

    assert schema["required"] == ["model"]
    assert schema["$defs"]["Training"]["properties"]["batch_size"]["description"]
    assert schema["$defs"]["Training"]["additionalProperties"] is False


def test_the_launch_is_our_trainer_on_the_run_folder(model, rows, tmp_path):
    made = launch(resolve(spec_of(model, rows)), tmp_path)
    told = json.loads(made.files["config.json"])

    assert made.argv == (sys.executable, "-P", "-m", "stoker.trainer", str(tmp_path / "run"))
    assert made.reports
    assert made.can_save
    assert told["dataset_path"] == rows
    assert told["resume_from"] is None
    assert made.env["OMP_NUM_THREADS"] == str(told["config"]["training"]["cpu_threads"])
    assert made.env["PYTHONUNBUFFERED"] == "1"
    assert made.env["TOKENIZERS_PARALLELISM"] == "false"


def test_a_resumed_attempt_is_told_its_checkpoint(model, rows, tmp_path):
    made = launch(resolve(spec_of(model, rows)), tmp_path, resume_from="/c/checkpoint-5", attempt=2)
    told = json.loads(made.files["config.json"])

    assert (told["resume_from"], told["attempt"]) == ("/c/checkpoint-5", 2)


def test_the_job_s_own_variables_win_and_no_secret_of_the_server_passes(model, rows, tmp_path):
    spec = dataclasses.replace(resolve(spec_of(model, rows)), env={"HF_HOME": "/mine", "MINE": "1"})
    server = {"PATH": "/bin", "HF_HOME": "/theirs", "HF_TOKEN": "s", "STOKER_DATABASE": "s", "AWS_SECRET_KEY": "s"}
    made = launch(spec, tmp_path, environment=server)

    assert made.env["HF_HOME"] == "/mine"
    assert made.env["MINE"] == "1"
    assert "s" not in made.env.values()


def test_a_foreign_interpreter_gets_the_trainer_by_its_path(model, rows, tmp_path):
    spec = resolve(dataclasses.replace(spec_of(model, rows), python=sys.prefix))
    made = launch(spec, tmp_path)

    assert made.argv[0] == os.path.join(sys.prefix, "bin", "python")
    assert os.path.basename(made.argv[1]) == "elsewhere.py"
    assert made.env["PATH"].startswith(os.path.join(sys.prefix, "bin"))


def test_threads_are_chosen_by_the_config_then_the_variable_then_the_cores(monkeypatch):
    config = FinetuneConfig(model=Model(name="m"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    half = max(1, len(os.sched_getaffinity(0)) // 2)

    assert chosen_threads(config, {}) == min(half, 16)
    assert chosen_threads(config, {"OMP_NUM_THREADS": "3"}) == 3
    assert chosen_threads(dataclasses.replace(config, training=Training(cpu_threads=5)), {"OMP_NUM_THREADS": "3"}) == 5


def test_the_recipes_load_neither_torch_nor_transformers():
    program = (
        "import sys, stoker.recipes.registry as r; [r.get(n).schema() for n in r.names()]; "
        "print(sorted({'torch', 'transformers', 'trl', 'peft', 'datasets', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == "[]"


def test_od45_any_target_modules_are_let_through_for_any_family_of_models(model, rows):
    names = ["q_proj", "gate_proj", "c_attn"]
    config = resolve(spec_of(model, rows, lora={"target_modules": names})).config

    assert list(config["training"]["lora_config"]["target_modules"]) == names


@pytest.mark.parametrize("off", [None, False, ""])
def test_words_of_other_methods_that_are_off_are_passed_over(model, rows, off):
    training = {"beta": off, "disable_dropout": off, "response_template": off}
    spec = spec_of(model, rows, distributed={"enabled": False}, output_dir=off, training=training)

    assert "beta" not in resolve(spec).config["training"]


def test_words_of_other_methods_that_say_something_are_refused(model, rows):
    found = problems_of(spec_of(model, rows, distributed={"enabled": True}, training={"beta": 0.1}))

    assert sorted(found) == ["config.distributed", "config.training.beta"]
