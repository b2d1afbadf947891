"""Real training of a tiny model in this process: what it reports, saves, stops, resumes and refuses."""

import errno
import hashlib
import json
import os
import shutil
import statistics
import sys
import time

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, Trainer, TrainerControl, TrainerState, TrainingArguments

from stoker.domain.failure import Reason
from stoker.rundir import checkpoints as files
from stoker.rundir.checkpoints import list_checkpoints, newest_complete, verify
from stoker.trainer import saving
from stoker.trainer.callback import Callback, LossIsNan
from stoker.trainer.diagnose import Failure, diagnose
from stoker.trainer.reporter import Reporter
from stoker.trainer.rows import BadRow
from stoker.trainer.run_config import read_run_config
from stoker.trainer.sft import ReportingTrainer, train
from tests.trainer.given_trainer import StoppingReporter, of_kind, read_lines
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # one training library's use of another is not ours to mend
    pytest.mark.timeout(120),
]

CHAT_TEMPLATE = (
    "{% for m in messages %}{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
)


def weights(folder):
    for name in ("model.safetensors", "adapter_model.safetensors"):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            with open(path, "rb") as file:
                return hashlib.sha256(file.read()).hexdigest()
    raise AssertionError(folder)


def losses(*runs):
    return [line["loss"] for run in runs for line in of_kind(run, "step")]


def phases(run):
    return [line["phase"] for line in of_kind(run, "phase")]


@pytest.mark.parametrize("use_lora", [False, True], ids=["full", "lora"])
def test_a_run_that_was_stopped_and_resumed_is_bit_for_bit_the_one_that_was_not(make_job, use_lora):
    settings = {"use_lora": use_lora, "max_steps": 20, "gradient_accumulation_steps": 2, "logging_steps": 7}
    whole = make_job("whole", **settings)
    ended, run = whole.train()
    halved = make_job("halved", **settings)
    stopped, first = halved.train(stop_at_step=10)
    resumed, second = halved.train(resume_from=stopped.checkpoint)

    assert (stopped.stopped, stopped.step, verify(stopped.checkpoint)) == (True, 10, None)
    assert (ended.stopped, resumed.stopped, resumed.step) == (False, False, 20)
    assert [line["step"] for line in of_kind(second, "step")] == list(range(11, 21))
    assert losses(run) == losses(first, second)
    assert weights(whole.output) == weights(halved.output)


def test_a_stop_in_an_evaluation_is_prompt_and_resumes_to_the_same_weights(make_job):
    settings = {
        "evaluation_strategy": "steps",
        "eval_steps": 4,
        "eval_batch_size": 1,
        "max_steps": 8,
        "use_lora": False,
    }
    whole = make_job("whole", **settings)
    _, run = whole.train()
    broken = make_job("broken", **settings)
    stopped, first = broken.train(stop_at_batch=2)
    _, second = broken.train(resume_from=stopped.checkpoint)

    assert (stopped.stopped, stopped.step) == (True, 4)
    assert [line["done"] for line in of_kind(first, "eval")] == [1, 2]
    assert losses(run) == losses(first, second)
    assert weights(whole.output) == weights(broken.output)


@pytest.mark.parametrize("logging_steps", [1, 3], ids=["heard after the step", "heard with the step"])
def test_a_stop_at_an_epoch_s_end_starts_no_evaluation_and_resumes_to_the_same_weights(make_job, logging_steps):
    settings = {
        "evaluation_strategy": "epoch",
        "save_strategy": "epoch",
        "max_steps": None,
        "num_epochs": 2,
        "logging_steps": logging_steps,
        "batch_size": 8,
    }
    whole = make_job("whole", use_lora=False, **settings)
    _, run = whole.train()
    halved = make_job("halved", use_lora=False, **settings)
    stopped, first = halved.train(stop_at_step=4)
    _, second = halved.train(resume_from=stopped.checkpoint)

    assert len(of_kind(run, "eval")) > 0
    assert of_kind(first, "eval") == []
    assert losses(run) == losses(first, second)
    assert weights(whole.output) == weights(halved.output)


def test_a_stop_that_comes_with_the_last_step_loses(make_job):
    ended, _ = make_job(max_steps=3, logging_steps=5).train(stop_at_step=3)

    assert (ended.stopped, ended.step) == (False, 3)
    assert ended.model


def test_every_step_is_reported_once_with_its_loss_rate_and_speed(make_job):
    _, run = make_job(logging_steps=3, use_lora=False).train()
    steps = of_kind(run, "step")

    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6, 7]
    assert {line["total"] for line in steps} == {7}
    assert all(line["loss"] > 0 and line["samples_per_second"] > 0 and line["tokens_per_second"] > 0 for line in steps)
    assert [("grad_norm" in line) for line in steps] == [False, False, True, False, False, True, False]
    assert steps[0]["learning_rate"] == 1e-3
    assert steps[3]["epoch"] == pytest.approx(4 / 20)
    assert steps[-1]["total_tokens_processed"] > steps[0]["total_tokens_processed"] > 0


def test_the_lines_are_numbered_without_a_gap_and_the_phases_are_in_order(make_job):
    _, run = make_job(evaluation_strategy="steps", eval_steps=3, save_steps=4).train()
    lines = read_lines(run)

    assert [line["seq"] for line in lines] == list(range(len(lines)))
    assert phases(run) == [
        "preparing", "training", "evaluating", "training", "saving", "training", "evaluating", "training",
        "evaluating", "saving", "training", "saving",
    ]  # fmt: skip
    assert [line["step"] for line in of_kind(run, "checkpoint")] == [4, 7]
    assert {line["step"] for line in of_kind(run, "metrics") if "eval_loss" in line} == {3, 6, 7}


def test_old_checkpoints_go_but_never_the_best_nor_the_newest(make_job):
    job = make_job(
        evaluation_strategy="steps", eval_steps=1, save_steps=1, save_total_limit=2, max_steps=5, learning_rate=1.0,
        use_lora=False, stop_on_nan=False, max_grad_norm=0, optim="sgd",
    )  # fmt: skip
    job.train()
    kept = list_checkpoints(job.checkpoints)
    best = [one for one in kept if one["is_best"]]

    assert len(kept) == 2
    assert kept[-1]["step"] == 5
    assert kept[-1]["is_latest"]
    assert len(best) == 1


def test_the_loss_falls_on_real_rows_and_the_adapter_loads_with_peft(make_job, real_rows, word_model):
    job = make_job(
        rows=real_rows, model=word_model, max_steps=24, batch_size=8, learning_rate=5e-3, max_length=160,
        lora_config={"r": 8, "lora_alpha": 32, "dropout": 0.1},
    )  # fmt: skip
    ended, run = job.train()
    seen = losses(run)
    base = AutoModelForCausalLM.from_pretrained(job.model)
    loaded = PeftModel.from_pretrained(base, ended.model)
    adapter = {name: value for name, value in loaded.named_parameters() if "lora_B" in name}

    assert sum(seen[-5:]) < 0.96 * sum(seen[:5])
    assert adapter
    assert any(value.abs().sum() > 0 for value in adapter.values())
    assert "training_args.bin" not in os.listdir(ended.model)


def test_texts_and_messages_are_trained_on_too(make_job, tmp_path):
    texts = [{"text": f"abc{n % 8} > abc"} for n in range(12)]
    make_job("texts", rows=texts, max_steps=2).train()
    chats = [
        {"messages": [{"role": "user", "content": "abc > "}, {"role": "assistant", "content": f"abc{n}"}]}
        for n in range(12)
    ]
    job = make_job("chats", rows=chats, max_steps=2, packing=False)
    with_template = tmp_path / "model"
    shutil.copytree(job.model, with_template)
    (with_template / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    job.model = str(with_template)
    ended, run = job.train()

    assert ended.step == 2
    assert len(of_kind(run, "step")) == 2


def test_od48_packing_and_length_reach_the_library_and_packed_rows_are_counted_as_rows(make_job):
    _, run = make_job(packing=True, max_length=32, max_steps=2, batch_size=1, use_lora=False).train()
    rates = of_kind(run, "step")[-1]

    assert rates["samples_per_second"] > rates["steps_per_second"] * 1.5


@pytest.mark.parametrize("option", ["gradient_checkpointing", "group_by_length"])
def test_the_other_settings_reach_the_library(make_job, option):
    ended, _ = make_job(max_steps=1, use_lora=False, **{option: True}).train()

    assert ended.step == 1


def test_the_learning_rate_warms_up_as_asked_and_by_default_over_a_tenth_of_all_steps(make_job):
    runs = [
        make_job(
            f"warm{n}", max_steps=20, learning_rate=1.0e-3, lr_scheduler_type="constant_with_warmup", **words
        ).train()[1]
        for n, words in enumerate([{"warmup_steps": 4}, {"warmup_ratio": 0.25}, {}, {"warmup_steps": 0}])
    ]
    reached = [next(line["step"] for line in of_kind(run, "step") if line["learning_rate"] == 1e-3) for run in runs]

    assert reached == [5, 6, 3, 1]


def test_a_stop_at_a_step_that_would_be_evaluated_starts_no_evaluation(make_job):
    settings = {"evaluation_strategy": "steps", "eval_steps": 4, "max_steps": 8, "use_lora": False, "logging_steps": 3}
    whole = make_job("whole", **settings)
    _, run = whole.train()
    halved = make_job("halved", **settings)
    stopped, first = halved.train(stop_at_step=4)
    _, second = halved.train(resume_from=stopped.checkpoint)

    assert of_kind(first, "eval") == []
    assert losses(run) == losses(first, second)
    assert weights(whole.output) == weights(halved.output)


def test_a_save_over_an_older_checkpoint_leaves_none_while_it_lasts(make_job, monkeypatch):
    job = make_job(max_steps=3, save_steps=1, save_total_limit=0, use_lora=False)
    job.train()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ReportingTrainer, "_save_optimizer_and_scheduler", full)
    with pytest.raises(OSError, match="No space left") as failed:
        job.train(resume_from=os.path.join(job.checkpoints, "checkpoint-1"))

    assert [one["step"] for one in list_checkpoints(job.checkpoints)] == [1]
    assert diagnose(failed.value)[0] is Reason.DISK_FULL


def test_rows_that_leave_nothing_to_learn_are_said_so(make_job):
    with pytest.raises(Failure, match="No row has anything to learn within max_length"):
        make_job(max_length=2).train()


def test_a_row_that_went_bad_after_the_submit_is_named(make_job):
    job = make_job()
    _, run = job.prepare()
    with open(job.root / "rows.jsonl", "a") as file:
        file.write("{}\n")
    reporter = Reporter(run)
    with pytest.raises(BadRow) as bad:
        train(read_run_config(run), reporter)
    reporter.close()
    reason, sentence = diagnose(bad.value)

    assert reason is Reason.BAD_DATA
    assert "Row 41: The row has nothing" in sentence


def test_a_loss_that_is_no_number_ends_the_job_and_saves_no_broken_weights(make_job, monkeypatch):
    healthy = ReportingTrainer.training_step

    def spoilt(trainer, model, *args, **kwargs):
        if trainer.state.global_step == 3:
            next(model.parameters()).data.fill_(float("nan"))
        return healthy(trainer, model, *args, **kwargs)

    monkeypatch.setattr(ReportingTrainer, "training_step", spoilt)
    job = make_job(max_steps=40, save_steps=1, use_lora=False)
    with pytest.raises(LossIsNan, match=r"The loss is no number \(nan\) since step 4"):
        job.train()
    steps = of_kind(job.root / "run1", "step")
    flagged = [line["step"] for line in steps if line["loss"] is None and line["flags"]["loss"] == "nan"]
    saved = list_checkpoints(job.checkpoints)

    assert flagged == [4, 5]
    assert [one["step"] for one in saved] == [1, 2, 3]
    assert all(torch.isfinite(p).all() for p in AutoModelForCausalLM.from_pretrained(saved[-1]["path"]).parameters())


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        ("truncate", "optimizer.pt has"),
        ("remove", "optimizer.pt is missing"),
        ("change", "optimizer.pt has other contents"),
        ("manifest", "has no manifest"),
        ("weights only", "lacks optimizer.pt"),
    ],
)
def test_a_damaged_checkpoint_is_not_resumed_from(make_job, harm, words):
    job = make_job(use_lora=False, max_steps=3)
    stopped, _ = job.train(stop_at_step=1)
    victim = os.path.join(stopped.checkpoint, "optimizer.pt")
    match harm:
        case "truncate":
            os.truncate(victim, 1000)
        case "remove":
            os.unlink(victim)
        case "change":
            with open(victim, "r+b") as file:
                file.seek(100)
                file.write(b"xxxx")
        case "manifest":
            os.unlink(os.path.join(stopped.checkpoint, files.MANIFEST))
        case "weights only":
            os.unlink(victim)
            files.seal(stopped.checkpoint, files.Progress(step=1))
    elsewhere = str(job.root / "elsewhere")
    shutil.copytree(stopped.checkpoint, elsewhere)
    with pytest.raises(Failure, match="can't be resumed") as refused:
        job.train(resume_from=elsewhere)

    assert words in str(refused.value)


def test_a_damaged_checkpoint_of_the_job_gives_way_to_the_newest_sound_one_before_it(make_job, capsys):
    job = make_job(use_lora=False, max_steps=4, save_steps=1, save_total_limit=0)
    job.train(stop_at_step=2)
    one, two, three = (found["path"] for found in list_checkpoints(job.checkpoints))
    os.truncate(os.path.join(two, "optimizer.pt"), 10)
    ended, run = job.train(resume_from=two)

    assert [line["step"] for line in of_kind(run, "step")] == [2, 3, 4]
    assert "optimizer.pt has 10 bytes instead of" in capsys.readouterr().out
    assert ended.step == 4
    assert [verify(path) for path in (one, two, three)] == [None, None, None]


def test_what_is_sealed_stays_beside_checkpoints_of_later_steps(tmp_path):
    for step in (2, 8, 9):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "weights").write_bytes(b"w")
        if step > 2:
            files.seal(str(folder), files.Progress(step=step))
    (tmp_path / "run").mkdir()
    callback = Callback(Reporter(str(tmp_path / "run")), keep=1)
    state = TrainerState(global_step=2, is_world_process_zero=True)
    callback.on_save(TrainingArguments(output_dir=str(tmp_path), use_cpu=True), state, TrainerControl())

    assert [one["step"] for one in list_checkpoints(str(tmp_path))] == [2, 9]


def test_without_any_sound_checkpoint_of_its_own_a_training_starts_anew_and_says_so(make_job, capsys):
    job = make_job(use_lora=False, max_steps=2)
    stopped, _ = job.train(stop_at_step=1)
    os.truncate(os.path.join(stopped.checkpoint, "optimizer.pt"), 10)
    _, run = job.train(resume_from=stopped.checkpoint)

    assert [line["step"] for line in of_kind(run, "step")] == [1, 2]
    assert "starts anew" in capsys.readouterr().out


def test_a_resume_from_an_older_checkpoint_keeps_its_own_line_and_lets_the_other_go(make_job):
    job = make_job(use_lora=False, max_steps=20, save_steps=3, save_total_limit=3)
    job.train(stop_at_step=8)
    first = list_checkpoints(job.checkpoints)[0]["path"]
    stopped, _ = job.train(resume_from=first, stop_at_step=4)

    assert stopped.checkpoint == os.path.join(job.checkpoints, "checkpoint-5")
    assert verify(stopped.checkpoint) is None
    assert [one["step"] for one in list_checkpoints(job.checkpoints)] == [3, 5]
    assert newest_complete(job.checkpoints) == stopped.checkpoint
    assert sorted(os.listdir(job.checkpoints)) == ["checkpoint-3", "checkpoint-5"]


def test_an_unfinished_checkpoint_of_an_earlier_attempt_is_cleared_away(make_job):
    job = make_job(max_steps=2)
    os.makedirs(os.path.join(job.checkpoints, "checkpoint-1"))
    job.train()

    assert [one["step"] for one in list_checkpoints(job.checkpoints)] == [2]
    assert os.listdir(job.checkpoints) == ["checkpoint-2"]


def test_the_model_of_an_earlier_attempt_is_replaced_whole(make_job):
    job = make_job(max_steps=1)
    os.makedirs(job.output)
    with open(os.path.join(job.output, "leftover"), "w") as file:
        json.dump({}, file)
    job.train()

    assert "leftover" not in os.listdir(job.output)
    assert os.listdir(os.path.dirname(job.output)) == ["model"]


def test_a_long_save_is_seen_to_advance(make_job, monkeypatch):
    monkeypatch.setattr(saving, "SECONDS_BETWEEN", 0.02)
    quick = ReportingTrainer._save_checkpoint

    def slow(trainer, *args):
        quick(trainer, *args)
        wait_until(lambda: of_kind(job.root / "run1", "saving"), 20)

    monkeypatch.setattr(ReportingTrainer, "_save_checkpoint", slow)
    job = make_job(max_steps=1, use_lora=False)
    job.train()
    kinds = [line["kind"] for line in read_lines(job.root / "run1")]

    assert of_kind(job.root / "run1", "saving")[0]["bytes"] > 0
    assert kinds.index("saving") < kinds.index("checkpoint")


def test_the_callback_alone_reports_saves_and_stops_an_ordinary_trainer(tmp_path, tiny_model):
    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return 16

        def __getitem__(self, number):
            ids = torch.tensor([1 + number % 8] * 4)
            return {"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids)}

    (tmp_path / "run").mkdir()
    reporter = StoppingReporter(str(tmp_path / "run"))
    reporter.stop_at_step = 3
    hook = Callback(reporter)
    trainer = Trainer(
        model=AutoModelForCausalLM.from_pretrained(tiny_model),
        args=TrainingArguments(
            str(tmp_path / "out"), max_steps=9, per_device_train_batch_size=2, logging_steps=2, use_cpu=True,
            report_to="none", eval_strategy="steps", eval_steps=2,
        ),
        train_dataset=Rows(), eval_dataset=Rows(), callbacks=[hook],
    )  # fmt: skip
    trainer.train()
    reporter.close()
    steps = of_kind(tmp_path / "run", "step")

    assert hook.stopped
    assert verify(hook.checkpoint) is None
    assert [line["step"] for line in steps] == [1, 2, 3]
    assert [line.get("loss") is not None for line in steps] == [False, True, False]
    assert len(of_kind(tmp_path / "run", "eval")) == 2
    assert phases(tmp_path / "run") == ["training", "evaluating", "training", "saving", "training"]


def test_the_callback_costs_microseconds_a_step(tmp_path, capsys):
    reporter = Reporter(str(tmp_path))
    hook = Callback(reporter)
    state, control = TrainerState(max_steps=3000, epoch=0.0), TrainerControl()
    taken = []
    for step in range(3000):
        state.global_step = step
        begin = time.perf_counter_ns()
        hook.on_step_end(None, state, control)
        taken.append((time.perf_counter_ns() - begin) / 1000)
    reporter.close()
    with capsys.disabled():
        print(f"\ncallback: median {statistics.median(taken):.1f} µs, p99 {sorted(taken)[-30]:.1f} µs", file=sys.stderr)

    assert statistics.median(taken) < 500  # ten times the aim: a busy machine is no failure
