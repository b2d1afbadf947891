"""Supervised fine-tuning with transformers, TRL and PEFT: from a resolved config to a trained model."""

from __future__ import annotations

import contextlib
import math
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from datasets import Dataset, disable_caching
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
from trl import SFTConfig, SFTTrainer

from stoker.domain.progress import Phase
from stoker.rundir import checkpoints
from stoker.trainer.arguments import trl_arguments
from stoker.trainer.callback import Callback, EvaluationInterrupted
from stoker.trainer.device import Device, choose_device
from stoker.trainer.diagnose import Failure
from stoker.trainer.outputs import publish
from stoker.trainer.pulse import Pulse
from stoker.trainer.reporter import Reporter
from stoker.trainer.resuming import begin_line, resume_point
from stoker.trainer.rows import read_rows
from stoker.trainer.run_config import RunConfig

USUAL_WARMUP_STEPS = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """How the training ended: at which step, whether it was stopped, the newest checkpoint, and the model if done."""

    step: int
    stopped: bool
    checkpoint: str | None
    model: str | None = None


class ReportingTrainer(SFTTrainer):  # type: ignore[misc]
    """TRL's trainer, which counts what goes through it, evaluates without a trace, and saves whole or not at all."""

    pulse: Pulse
    hook: Callback

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Train on one batch and count it."""
        loss: torch.Tensor = super().training_step(model, inputs, *args, **kwargs)
        self.pulse.see(inputs, loss)
        return loss

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate; a stop request breaks it off, and the numbers drawn for training stay what they would have been."""
        with _random_state_kept():
            try:
                return super().evaluate(*args, **kwargs)  # type: ignore[no-any-return]
            except EvaluationInterrupted:
                self.hook.evaluation_broken_off(self.args, self.state, self.control)
                return {}

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write into a folder that counts as no checkpoint until it is sealed."""
        folder = os.path.join(self.args.output_dir, f"checkpoint-{self.state.global_step}")
        checkpoints.remove(folder)
        super()._save_checkpoint(model, trial)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write none."""


def train(run: RunConfig, reporter: Reporter, on_begin: Callable[[], None] | None = None) -> Trained:
    """Train as ordered and leave the model in the job's outputs. Raises whatever goes wrong; see `diagnose`."""
    run = replace(run, resume_from=resume_point(run))
    begin_line(run, run.resume_from)
    checkpoints.remove_incomplete(run.job.checkpoints)
    torch.set_num_threads(run.training["cpu_threads"])
    device = choose_device(run.model, run.training)
    print(f"Training {device}, with {torch.get_num_threads()} threads", flush=True)  # noqa: T201 - for the job's log
    set_seed(run.training["seed"])
    tokenizer, model = _load(run, device)
    reporter.phase(Phase.PREPARING)
    trainer = _build(run, device, tokenizer, model)
    trainer.hook = _hook(run, reporter, trainer.pulse, on_begin)
    trainer.add_callback(trainer.hook)
    _report_sizes(trainer, reporter)
    trainer.train(resume_from_checkpoint=run.resume_from)
    return _end(run, reporter, trainer)


def _load(run: RunConfig, device: Device) -> tuple[Any, Any]:
    name, revision = run.model["name"], run.model.get("revision")
    own = run.config["tokenizer"]
    tokenizer = AutoTokenizer.from_pretrained(
        own.get("name") or name, revision=None if own.get("name") else revision, trust_remote_code=False
    )
    if own.get("padding_side"):
        tokenizer.padding_side = own["padding_side"]
    model = AutoModelForCausalLM.from_pretrained(name, revision=revision, dtype=device.weights, trust_remote_code=False)
    return tokenizer, model


def _build(run: RunConfig, device: Device, tokenizer: Any, model: Any) -> ReportingTrainer:
    disable_caching()
    rows, held_out = _split(run)
    arguments = _arguments(run, device, model, evaluates=bool(held_out))
    trainer = ReportingTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(held_out) if held_out else None,
        processing_class=tokenizer,
        peft_config=_lora(run.training),
    )
    trainer.pulse = Pulse()
    if len(trainer.train_dataset) == 0:
        raise Failure("No row has anything to learn within max_length tokens. Raise max_length or shorten the prompts")
    if run.training["warmup_steps"] is None and not run.training["warmup_ratio"]:
        trainer.args.warmup_steps = min(USUAL_WARMUP_STEPS, _total_steps(trainer) // 10)
    return trainer


def _split(run: RunConfig) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Give the rows to train on, and the last ones that are kept for evaluation."""
    rows = [row for _, row in read_rows(run.dataset_path, run.config["data"]["max_samples"])]
    if not rows:
        raise Failure("The data set has no rows")
    share = run.config["eval_split"]
    kept = min(len(rows) - 1, max(1, round(len(rows) * share))) if share > 0 else 0
    split = len(rows) - kept
    return rows[:split], rows[split:] if run.training["evaluation_strategy"] != "no" else []


def _arguments(run: RunConfig, device: Device, model: Any, *, evaluates: bool) -> SFTConfig:
    training = run.training
    longest = getattr(model.config, "max_position_embeddings", None) or training["max_length"]
    chosen: dict[str, Any] = {
        "output_dir": run.job.checkpoints,
        "use_cpu": device.is_cpu,
        "bf16": device.bf16,
        "fp16": device.fp16,
        "max_length": min(training["max_length"], longest),
        "max_steps": training["max_steps"] or -1,
        "eval_strategy": training["evaluation_strategy"] if evaluates else "no",
        "dataloader_pin_memory": training["dataloader_pin_memory"] and not device.is_cpu,
    }
    if training["warmup_ratio"]:
        chosen["warmup_steps"] = training["warmup_ratio"]  # a number below 1 is a share of all steps
    if training["gradient_checkpointing"]:
        chosen["activation_checkpointing_kwargs"] = {"use_reentrant": False}
    arguments = SFTConfig(**trl_arguments(training, chosen, {field.name for field in fields(SFTConfig)}))
    arguments._n_gpu = min(arguments.n_gpu, 1)  # noqa: SLF001 - several visible GPUs would mean nn.DataParallel
    return arguments


def _lora(training: dict[str, Any]) -> LoraConfig | None:
    lora = training["lora_config"]
    if not training["use_lora"] or lora is None:
        return None
    modules = lora["target_modules"]
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora["r"],
        lora_alpha=lora["lora_alpha"],
        lora_dropout=lora["lora_dropout"],
        target_modules=modules if modules == "all-linear" or isinstance(modules, list) else [modules],
    )


def _total_steps(trainer: ReportingTrainer) -> int:
    args = trainer.args
    if args.max_steps > 0:
        return int(args.max_steps)
    batches = math.ceil(len(trainer.train_dataset) / int(args.per_device_train_batch_size))
    return math.ceil(float(args.num_train_epochs) * math.ceil(batches / int(args.gradient_accumulation_steps)))


def _hook(run: RunConfig, reporter: Reporter, pulse: Pulse, on_begin: Callable[[], None] | None) -> Callback:
    keep: int | None = run.training["save_total_limit"]
    return Callback(
        reporter,
        pulse,
        keep=keep,
        protect=run.resume_from,
        stop_on_nan=run.training["stop_on_nan"],
        interrupts=True,
        on_begin=on_begin,
        on_sealed=(lambda: checkpoints.remove_abandoned(run.job.checkpoints)) if keep else None,
    )


def _report_sizes(trainer: ReportingTrainer, reporter: Reporter) -> None:
    learnt = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    train, held_out = len(trainer.train_dataset), len(trainer.eval_dataset or ())
    reporter.log(
        {
            "train_samples": train,
            "val_samples": held_out,
            "total_samples": train + held_out,
            "trainable_parameters": learnt,
            "all_parameters": sum(p.numel() for p in trainer.model.parameters()),
        }
    )


def _end(run: RunConfig, reporter: Reporter, trainer: ReportingTrainer) -> Trained:
    step, hook = trainer.state.global_step, trainer.hook
    checkpoint = hook.checkpoint or run.resume_from
    if hook.stopped:
        return Trained(step=step, stopped=True, checkpoint=checkpoint)
    reporter.phase(Phase.SAVING)

    def write(folder: str) -> None:
        trainer.save_model(folder)
        trainer.processing_class.save_pretrained(folder)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, "training_args.bin"))  # a pickle, with paths of this machine

    return Trained(step=step, stopped=False, checkpoint=checkpoint, model=publish(run.job, write))


@contextlib.contextmanager
def _random_state_kept() -> Iterator[None]:
    """Give every source of random numbers back as it was, so that an evaluation leaves no trace in the training."""
    cpu, python, numpy = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        torch.set_rng_state(cpu)
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002 - the state that the training library draws from
        if gpus:
            torch.cuda.set_rng_state_all(gpus)
