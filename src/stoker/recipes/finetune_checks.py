"""What must hold of a fine-tuning config beyond its types: nothing contradicts, and what it names is there."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from stoker.domain.errors import Problem
from stoker.domain.spec import JobSpec
from stoker.recipes.finetune_config import FinetuneConfig, Lora
from stoker.recipes.interpreter import find_interpreter
from stoker.rundir.checkpoints import glance
from stoker.trainer.rows import BadRow, Form, Survey, open_regular, survey

METHODS = ("sft",)
METHODS_TO_COME = ("cpt", "dpo", "grpo", "kto", "orpo", "reward", "rlhf", "teacher_mode")
OF_OTHER_METHODS = (
    "max_prompt_length", "beta", "disable_dropout", "response_template", "ppo_epochs", "clip_range",
    "clip_range_value", "vf_coef", "response_length", "local_rollout_forward_batch_size", "entropy_coef",
)  # fmt: skip
_LATER = "It is a setting of a method that is not available yet; leave it out"
OTHER_REMEDIES = dict.fromkeys(OF_OTHER_METHODS, _LATER) | {
    "output_dir": "Leave it out; the results go into the job's own folder",
    "distributed": "Leave it out; training on several devices is not available yet",
    "max_seq_length": "It is called 'max_length' here",
    "lr": "It is called 'learning_rate' here",
    "epochs": "It is called 'num_epochs' here",
}
"""What to do about names that people know from elsewhere."""

_IGNORED_WHEN_OFF = ("distributed", "output_dir")

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
_WEIGHTS = re.compile(r".*\.safetensors|pytorch_model.*\.bin")
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "spiece.model")


def without_neutral(config: dict[str, Any]) -> dict[str, Any]:
    """Give a config without the words of other methods and machines that say nothing: off, empty or null.

    Front ends of the original send every word that they know, those of other methods included.
    """
    kept = {name: value for name, value in config.items() if not (name in _IGNORED_WHEN_OFF and _is_off(value))}
    training = kept.get("training")
    if isinstance(training, dict):
        said = {name: value for name, value in training.items() if name not in OF_OTHER_METHODS or not _is_off(value)}
        kept["training"] = said
    return kept


def _is_off(value: object) -> bool:
    return value in (None, False, "") or value == {"enabled": False}


def foreign_fields(spec: JobSpec) -> list[Problem]:
    """Name the fields of the request that this recipe has no use for, and a Python that is not there."""
    remedy = "Leave it out, or use the recipe 'command'"
    given = {"command": spec.command, "prefix": spec.prefix, "cwd": spec.cwd}
    problems = [
        Problem(field=name, message="is not for the recipe 'finetune'", remedy=remedy) for name, v in given.items() if v
    ]
    if spec.gpus > 1:
        message = f"is {spec.gpus}; training on several GPUs is not available yet"
        problems.append(Problem(field="gpus", message=message, remedy="Give 0 or 1"))
    if spec.python is not None and isinstance(found := find_interpreter(spec.python), Problem):
        problems.append(found)
    return problems


def contradictions(config: FinetuneConfig) -> Iterator[Problem]:
    """Find settings that exclude each other, or are said twice and differ."""
    training = config.training
    if training.max_steps == 0:
        yield _problem("training.max_steps", "is 0", "Give a number above 0, or leave it out")
    for one, other in (("fp16", "bf16"), ("warmup_ratio", "warmup_steps"), ("group_by_length", "packing")):
        if getattr(training, one) and getattr(training, other):
            yield _problem(f"training.{one}", f"can't be had together with {other}", "Give one of the two")
    for name, lora in (("lora", config.lora), ("training.lora_config", training.lora_config)):
        if lora is not None:
            yield from _lora_contradictions(name, lora)
    for name, values in _said_twice(config):
        if len(values) > 1:
            yield _problem(name, f"is given as {_listed(values)}", "Give it once")


def _said_twice(config: FinetuneConfig) -> Iterator[tuple[str, set[Any]]]:
    data, resume = config.data, config.checkpoint_resume
    rest = None if data.train_split is None else round(1 - data.train_split, 9)
    yield "eval_split", {config.eval_split, data.eval_split, rest} - {None}
    if resume and resume.enabled:
        yield "checkpoint_resume", {config.resume_from_checkpoint, resume.checkpoint_path} - {None}
    loras = {repr(one) for one in (config.lora, config.training.lora_config) if one is not None}
    yield "lora", {"lora", "a different training.lora_config"} if len(loras) > 1 else set()


def unavailable(config: FinetuneConfig) -> Iterator[Problem]:
    """Find settings that are known and can't be had yet."""
    method = config.training.method
    if method in METHODS_TO_COME:
        yield _problem("training.method", f"'{method}' is not available yet", "Use 'sft'")
    elif method not in METHODS:
        close = difflib.get_close_matches(method, METHODS + METHODS_TO_COME, n=1)
        hint = f"Did you mean '{close[0]}'? " if close else ""
        yield _problem("training.method", f"'{method}' is not known", f"{hint}Known is 'sft'")
    for group in ("quantization", "training"):
        for name in ("load_in_4bit", "load_in_8bit"):
            if getattr(getattr(config, group), name):
                remedy = "Turn it off; LoRA on a smaller model or a shorter max_length saves memory too"
                yield _problem(f"{group}.{name}", "asks for quantization, which is not available yet", remedy)
    for name in ("tensorboard", "predictions"):
        part = getattr(config, name)
        if part is not None and part.enabled:
            yield _problem(f"{name}.enabled", "is on and is not available yet", "Turn it off")


def models(config: FinetuneConfig) -> Iterator[Problem]:
    """Find a model or a tokenizer that is not where it should be."""
    yield from _model("model.name", config.model.name, _lacks_model)
    if config.tokenizer.name is not None:
        yield from _model("tokenizer.name", config.tokenizer.name, _lacks_tokenizer)
    elif os.path.isdir(config.model.name) and not _has_tokenizer(config.model.name):
        yield _problem("tokenizer.name", f"is missing and '{config.model.name}' holds none", "Name a tokenizer")


def resume_point(config: FinetuneConfig) -> Iterator[Problem]:
    """Find a checkpoint that can't be resumed from. Its contents are verified by the trainer."""
    path = resume_path(config)
    if path is None:
        return
    remedy = "Give the absolute path of a complete checkpoint, or leave it out"
    if not os.path.isabs(path):
        yield _problem("resume_from_checkpoint", f"'{path}' is not an absolute path", remedy)
    elif (fault := glance(path)) is not None:
        yield _problem("resume_from_checkpoint", f"can't be resumed from: {fault}", remedy)


def resume_path(config: FinetuneConfig) -> str | None:
    """Give the checkpoint that the config names, in either of the two ways to say it."""
    resume = config.checkpoint_resume
    return config.resume_from_checkpoint or (resume.checkpoint_path if resume and resume.enabled else None)


def dataset_path(spec: JobSpec, config: FinetuneConfig, problems: list[Problem]) -> str | None:
    """Give the data set's path, which may be said in three places; None after adding a problem."""
    said = {path for path in (spec.dataset_path, config.dataset_path, config.data.dataset_path) if path}
    if len(said) == 1:
        return said.pop()
    if said:
        message, remedy = f"is given as {_listed(said)}", "Give it once"
    else:
        message, remedy = "is missing", "Give the path of a data set, or send its rows as dataset_content"
    problems.append(Problem(field="dataset_path", message=message, remedy=remedy))
    return None


def dataset(path: str, config: FinetuneConfig) -> Iterator[Problem]:
    """Find every fault of the data set, row by row."""
    try:
        found = survey(path, config.data.max_samples)
    except OSError as error:
        remedy = "Check the path on the server's machine, and that the server's user may read it"
        yield Problem(field="dataset_path", message=f"'{path}' can't be read ({error.strerror})", remedy=remedy)
        return
    for fault in found.faults:
        yield _row_problem(fault)
    if not found.faults:
        yield from _form_problems(found, config)


def eval_split(config: FinetuneConfig, default: float) -> float:
    """Give the share of the rows that is kept for evaluation."""
    if config.eval_split is not None:
        return config.eval_split
    if config.data.eval_split is not None:
        return config.data.eval_split
    return default if config.data.train_split is None else round(1 - config.data.train_split, 9)


def named_paths(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give each path in a raw config, with its field; what is not a path on this machine is passed over."""
    places = (
        ("model", "name"), ("tokenizer", "name"), ("data", "dataset_path"), ("dataset_path",),
        ("resume_from_checkpoint",), ("checkpoint_resume", "checkpoint_path"),
    )  # fmt: skip
    for place in places:
        value: Any = config
        for part in place:
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, str) and (os.path.isabs(value) or "path" in place[-1] or place[0].startswith("resume")):
            yield f"config.{'.'.join(place)}", value


def _lora_contradictions(name: str, lora: Lora) -> Iterator[Problem]:
    for long, short in (("lora_alpha", "alpha"), ("lora_dropout", "dropout")):
        values = {getattr(lora, long), getattr(lora, short)} - {None}
        if len(values) > 1:
            yield _problem(f"{name}.{short}", f"differs from {long}", "Give one of the two")


def _model(field: str, name: str, lacks: Any) -> Iterator[Problem]:
    if os.path.isabs(name):
        if not os.path.isdir(name):
            yield _problem(field, f"'{name}' is no folder", "Check the path on the server's machine")
        elif missing := lacks(name):
            yield _problem(field, f"'{name}' holds no {missing}", "Name a folder with a saved model")
    elif not _HUB_NAME.fullmatch(name) or ".." in name:
        yield _problem(field, f"'{name}' is no name on the Hub", "Give an absolute path, or a name such as owner/model")


def _lacks_model(path: str) -> str | None:
    if not os.path.isfile(os.path.join(path, "config.json")):
        return "config.json"
    try:
        names = os.listdir(path)
    except OSError:
        return "files that can be read"
    return None if any(_WEIGHTS.fullmatch(name) for name in names) else "weights"


def _lacks_tokenizer(path: str) -> str | None:
    return None if _has_tokenizer(path) else "tokenizer"


def _has_tokenizer(path: str) -> bool:
    return any(os.path.isfile(os.path.join(path, name)) for name in _TOKENIZERS)


def _form_problems(found: Survey, config: FinetuneConfig) -> Iterator[Problem]:
    if config.training.assistant_only_loss and found.form is not Form.MESSAGES:
        message = f"is on, but the data set has the form {found.form}"
        yield _problem("training.assistant_only_loss", message, "Turn it off, or give rows with `messages`")
    tokenizer = config.tokenizer.name or config.model.name
    if found.form is Form.MESSAGES and os.path.isdir(tokenizer) and not _has_chat_template(tokenizer):
        remedy = "Use a tokenizer with a chat template, or give rows with `prompt` and `completion`"
        message = f"rows hold `messages`, but the tokenizer in '{tokenizer}' has no chat template"
        yield Problem(field="dataset_path", message=message, remedy=remedy)


def _has_chat_template(path: str) -> bool:
    if any(os.path.isfile(os.path.join(path, name)) for name in ("chat_template.jinja", "chat_template.json")):
        return True
    if os.path.isdir(os.path.join(path, "additional_chat_templates")):
        return True
    try:
        with open_regular(os.path.join(path, "tokenizer_config.json")) as file:
            return bool(json.load(file).get("chat_template"))
    except (OSError, ValueError, AttributeError):
        return False


def _row_problem(fault: BadRow) -> Problem:
    field = f"dataset_path[{fault.number}]" if fault.number else "dataset_path"
    return Problem(field=field, message=str(fault), remedy="Mend the data set, then submit it again")


def _listed(values: set[Any]) -> str:
    return " and ".join(sorted(str(one) for one in values))


def _problem(path: str, message: str, remedy: str) -> Problem:
    return Problem(field=f"config.{path}", message=message, remedy=remedy)
