"""What to compute on, and in which type of number: chosen by what is there, and said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

_TYPES = {
    "float32": torch.float32,
    "fp32": torch.float32,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
    "float16": torch.float16,
    "fp16": torch.float16,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """Where the job computes: `weights` is the type that the model is loaded in, the flags that of the arithmetic."""

    name: str
    weights: torch.dtype
    bf16: bool
    fp16: bool

    @property
    def is_cpu(self) -> bool:
        """Whether there is no GPU in it."""
        return self.name == "cpu"

    def __str__(self) -> str:
        """Say it in a line for the log."""
        arithmetic = "bfloat16" if self.bf16 else "float16" if self.fp16 else "float32"
        place = "the CPU" if self.is_cpu else torch.cuda.get_device_name(0)
        return f"on {place}, weights in {str(self.weights).removeprefix('torch.')}, arithmetic in {arithmetic}"


def choose_device(model: Mapping[str, Any], training: Mapping[str, Any]) -> Device:
    """Choose by the machine first and the wishes second: float32 on a CPU, bfloat16 on a GPU that can."""
    if model.get("device_map") == "cpu" or not torch.cuda.is_available():
        return Device(name="cpu", weights=torch.float32, bf16=False, fp16=False)
    can = torch.cuda.is_bf16_supported()
    fp16 = bool(training.get("fp16"))
    bf16 = can and not fp16 if training.get("bf16") is None else bool(training["bf16"]) and can
    return Device(name="cuda", weights=_weights(model, training, bf16=bf16), bf16=bf16, fp16=fp16)


def _weights(model: Mapping[str, Any], training: Mapping[str, Any], *, bf16: bool) -> torch.dtype:
    """Frozen weights may be short; weights that are trained are kept in float32 unless another type was asked for."""
    asked = _TYPES.get(model.get("torch_dtype", "auto"))
    if asked is not None and (asked is not torch.float16 or training.get("use_lora")):
        return asked
    return torch.bfloat16 if bf16 and training.get("use_lora") else torch.float32
