"""The one table from the words of a job's config to the names of today's training library. Standard library only."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

TRL_NAMES = {
    "num_epochs": "num_train_epochs",
    "max_steps": "max_steps",
    "batch_size": "per_device_train_batch_size",
    "eval_batch_size": "per_device_eval_batch_size",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
    "learning_rate": "learning_rate",
    "warmup_steps": "warmup_steps",
    "lr_scheduler_type": "lr_scheduler_type",
    "optim": "optim",
    "weight_decay": "weight_decay",
    "adam_beta1": "adam_beta1",
    "adam_beta2": "adam_beta2",
    "adam_epsilon": "adam_epsilon",
    "max_grad_norm": "max_grad_norm",
    "bf16": "bf16",
    "fp16": "fp16",
    "gradient_checkpointing": "activation_checkpointing",
    "logging_steps": "logging_steps",
    "save_strategy": "save_strategy",
    "save_steps": "save_steps",
    "evaluation_strategy": "eval_strategy",
    "eval_steps": "eval_steps",
    "packing": "packing",
    "max_length": "max_length",
    "assistant_only_loss": "assistant_only_loss",
    "seed": "seed",
    "dataloader_num_workers": "dataloader_num_workers",
    "dataloader_prefetch_factor": "dataloader_prefetch_factor",
    "dataloader_pin_memory": "dataloader_pin_memory",
    "group_by_length": "train_sampling_strategy",
}
"""Words of `training` and what the library calls them."""

FIXED: dict[str, Any] = {
    "report_to": "none",
    "disable_tqdm": True,
    "logging_nan_inf_filter": False,  # a NaN is shown, not averaged away
    "load_best_model_at_end": False,  # it would make a resumed run differ
    "save_total_limit": None,  # old checkpoints are deleted here, after the new one is sealed
    "save_only_model": False,
    "ignore_data_skip": False,
    "restore_callback_states_from_checkpoint": False,
    "push_to_hub": False,
    "trust_remote_code": False,
}
"""What a job can't choose, because a promise hangs on it."""


OLDER_NAMES = {
    "activation_checkpointing": "gradient_checkpointing",
    "activation_checkpointing_kwargs": "gradient_checkpointing_kwargs",
}
"""What earlier releases of the library call some of these."""


def trl_arguments(training: Mapping[str, Any], chosen: Mapping[str, Any], known: Container[str]) -> dict[str, Any]:
    """Give the library's arguments for a resolved `training`; `chosen` are those decided on the spot and win.

    `known` are the names that the installed library takes. Raises `ValueError` for one that it lacks.
    """
    named = {TRL_NAMES[word]: value for word, value in training.items() if word in TRL_NAMES and value is not None}
    named["train_sampling_strategy"] = "group_by_length" if training.get("group_by_length") else "random"
    return {_installed_name(name, known): value for name, value in {**named, **FIXED, **chosen}.items()}


def _installed_name(name: str, known: Container[str]) -> str:
    for one in (name, OLDER_NAMES.get(name)):
        if one is not None and one in known:
            return one
    raise ValueError(f"The installed training library does not know '{name}'. Install a release that Stoker supports")
