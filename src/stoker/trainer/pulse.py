"""What goes through the model: rows, tokens and loss, counted batch by batch and taken once a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, kw_only=True, slots=True)
class Beat:
    """One step: its mean loss per learnt token, the rows, and the tokens without padding."""

    loss: float
    rows: int
    tokens: int


class Pulse:
    """Counts on the device and waits for it once a step only."""

    def __init__(self) -> None:
        """Start from nothing."""
        self._counts: list[torch.Tensor] = []
        self._losses: list[torch.Tensor] = []

    def see(self, inputs: Mapping[str, Any], loss: torch.Tensor) -> None:
        """Count one batch and its share of the step's loss."""
        self._counts.append(torch.stack(_count(inputs)))
        self._losses.append(loss.detach())

    def take(self) -> Beat:
        """Give what was counted since the last call."""
        if not self._losses:
            return Beat(loss=float("nan"), rows=0, tokens=0)
        rows, tokens = torch.stack(self._counts).sum(dim=0).tolist()
        loss = torch.stack(self._losses).sum().item()
        self._counts.clear()
        self._losses.clear()
        return Beat(loss=loss, rows=int(rows), tokens=int(tokens))


def _count(inputs: Mapping[str, Any]) -> list[torch.Tensor]:
    """Count rows and tokens of a batch; one without padding holds its rows end to end, each from position 0 on."""
    ids, mask, positions = inputs["input_ids"], inputs.get("attention_mask"), inputs.get("position_ids")
    if mask is not None:
        return [torch.tensor(ids.shape[0], device=ids.device), mask.sum()]
    rows = (positions == 0).sum() if positions is not None else torch.tensor(ids.shape[0], device=ids.device)
    return [rows, torch.tensor(ids.numel(), device=ids.device)]
