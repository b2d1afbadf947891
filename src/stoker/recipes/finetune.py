"""The recipe `finetune`: supervised fine-tuning of a language model by our own trainer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

import stoker
from stoker.domain.errors import InvalidRequest, Problem
from stoker.domain.spec import JobSpec
from stoker.recipes import finetune_checks as checks
from stoker.recipes.environment import passed_on
from stoker.recipes.finetune_config import FinetuneConfig, Lora
from stoker.recipes.interpreter import Interpreter, find_interpreter
from stoker.recipes.port import Launch, LaunchRequest
from stoker.recipes.problems import from_validation, shown
from stoker.trainer.arguments import TRL_NAMES

FIELD = "config"
DEFAULT_EVAL_SPLIT = 0.2
DEFAULT_LORA = Lora(lora_alpha=32.0, lora_dropout=0.1)
MOST_THREADS = 16

_ADAPTER = TypeAdapter(FinetuneConfig)
_RENAMED = {theirs: f"It is called '{ours}' here" for ours, theirs in TRL_NAMES.items() if ours != theirs}
_REMEDIES = checks.OTHER_REMEDIES | {name: text for name, text in _RENAMED.items() if name not in TRL_NAMES}


class FinetuneRecipe:
    """Trains a model with transformers, TRL and PEFT in a process of its own."""

    name = "finetune"

    def resolve(self, spec: JobSpec) -> JobSpec:
        """Check the config, the model, every row of the data, and fill in the defaults."""
        problems = checks.foreign_fields(spec)
        config = _parse(checks.without_neutral(spec.config), problems)
        if config is None:
            raise InvalidRequest(*problems)
        problems += checks.contradictions(config)
        problems += checks.unavailable(config)
        problems += checks.models(config)
        problems += checks.resume_point(config)
        dataset = checks.dataset_path(spec, config, problems)
        if dataset is not None:
            problems += checks.dataset(dataset, config)
        if problems:
            raise InvalidRequest(*problems)
        resolved = _completed(config, chosen_threads(config, spec.env))
        return replace(spec, config=_plain(resolved), dataset_path=dataset)

    def paths(self, spec: JobSpec) -> tuple[tuple[str, str], ...]:
        """Name every path that will be read: the data set, the interpreter, and those in the config."""
        named = (("dataset_path", spec.dataset_path), ("python", spec.python))
        return (*((field, path) for field, path in named if path is not None), *checks.named_paths(spec.config))

    def launch(self, request: LaunchRequest) -> Launch:
        """Start our trainer on the run folder."""
        config = request.spec.config
        return Launch(
            argv=(*_start(request.spec.python), request.run_dir),
            env=_environment(request, config["training"]["cpu_threads"]),
            cwd=request.run_dir,
            files={"config.json": _run_config(request)},
            reports=True,
            can_save=True,
        )

    def schema(self) -> dict[str, Any]:
        """Give the JSON Schema of the config."""
        return _ADAPTER.json_schema()


def chosen_threads(config: FinetuneConfig, env: Mapping[str, str]) -> int:
    """Choose how many threads the numerical libraries use: as asked, as OMP_NUM_THREADS says, else half the cores.

    Half, because a machine that is shared by threads that spin is many times slower than one that is not full.
    """
    if config.training.cpu_threads is not None:
        return config.training.cpu_threads
    said = env.get("OMP_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS", "")
    if said.isdecimal() and int(said) > 0:
        return int(said)
    return min(MOST_THREADS, max(1, len(os.sched_getaffinity(0)) // 2))


def _parse(config: dict[str, Any], problems: list[Problem]) -> FinetuneConfig | None:
    try:
        return _ADAPTER.validate_json(json.dumps(config))
    except (TypeError, ValueError, RecursionError) as error:
        if isinstance(error, ValidationError):
            problems += from_validation(error, FinetuneConfig, FIELD, _REMEDIES)
        else:
            message = f"is {shown(config)} that can't be written as JSON"
            problems.append(Problem(field=FIELD, message=message, remedy="Give a JSON object"))
        return None


def _completed(config: FinetuneConfig, threads: int) -> FinetuneConfig:
    """Give the config with every default filled in and each setting in one place only."""
    training = config.training
    lora = config.lora or training.lora_config or DEFAULT_LORA
    keep = config.output.save_total_limit
    return replace(
        config,
        eval_split=checks.eval_split(config, DEFAULT_EVAL_SPLIT if training.evaluation_strategy != "no" else 0.0),
        data=replace(config.data, eval_split=None, train_split=None, dataset_path=None),
        lora=None,
        dataset_path=None,
        output=replace(config.output, save_total_limit=None),
        resume_from_checkpoint=checks.resume_path(config),
        checkpoint_resume=None,
        training=replace(
            training,
            max_steps=None if training.max_steps == -1 else training.max_steps,
            lora_config=_one_word_each(lora) if training.use_lora else None,
            save_total_limit=training.save_total_limit if keep is None else keep,
            dataloader_prefetch_factor=training.dataloader_prefetch_factor if training.dataloader_num_workers else None,
            cpu_threads=threads,
        ),
    )


def _one_word_each(lora: Lora) -> Lora:
    alpha = lora.lora_alpha if lora.lora_alpha is not None else lora.alpha
    dropout = lora.lora_dropout if lora.lora_dropout is not None else lora.dropout
    return replace(
        lora,
        lora_alpha=DEFAULT_LORA.lora_alpha if alpha is None else alpha,
        lora_dropout=DEFAULT_LORA.lora_dropout if dropout is None else dropout,
        alpha=None,
        dropout=None,
    )


def _plain(config: FinetuneConfig) -> dict[str, Any]:
    return asdict(config)


def _start(python: str | None) -> tuple[str, ...]:
    """Give the start of the argv. A foreign interpreter need not have this package installed."""
    if python is None:
        return (sys.executable, "-P", "-m", "stoker.trainer")
    found = find_interpreter(python)
    executable = found.executable if isinstance(found, Interpreter) else python
    return (executable, os.path.join(os.path.dirname(stoker.__file__), "trainer", "elsewhere.py"))


def _environment(request: LaunchRequest, threads: int) -> dict[str, str]:
    environment = passed_on(request.environment) | dict(request.spec.env)
    if request.spec.python is not None and isinstance(found := find_interpreter(request.spec.python), Interpreter):
        environment = found.activate(environment)
    return environment | {
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TQDM_MININTERVAL": environment.get("TQDM_MININTERVAL", "10"),  # a bar in a log is a line per redraw
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
    }


def _run_config(request: LaunchRequest) -> bytes:
    body = {
        "job_id": request.job_id,
        "attempt": request.attempt,
        "job_dir": request.job_dir,
        "dataset_path": request.spec.dataset_path,
        "resume_from": request.resume_from or request.spec.config.get("resume_from_checkpoint"),
        "config": request.spec.config,
    }
    return json.dumps(body, indent=1, allow_nan=False).encode() + b"\n"
