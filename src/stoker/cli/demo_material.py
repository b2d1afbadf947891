"""The part of the demonstration that needs torch, run in a process of its own so that the command line stays light.

`prepare FOLDER SEED` makes the model and the rows and prints what guessing would score; `measure MODEL ROWS` prints
the share of held-out rows that a model gets right. Both print one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from stoker.trainer.demo_task import TRAIN_ROWS, accuracy, chance, make_config, make_model, make_rows

HELD_OUT = 400


def prepare(folder: str, seed: int) -> dict[str, Any]:
    """Make the untrained model, the rows to train on, and the rows held out, below `folder`."""
    os.makedirs(folder, exist_ok=True)
    train, held_out = make_rows(seed, TRAIN_ROWS, HELD_OUT)
    made = {name: os.path.join(folder, name) for name in ("model", "train.jsonl", "held_out.jsonl")}
    make_model(made["model"], seed)
    _write(made["train.jsonl"], train)
    _write(made["held_out.jsonl"], held_out)
    return {
        "model": made["model"],
        "train": made["train.jsonl"],
        "held_out": made["held_out.jsonl"],
        "config": make_config(made["model"], seed),
        "rows": len(train),
        "held_out_rows": len(held_out),
        "chance": chance(held_out),
        "example": held_out[0],
    }


def measure(model: str, rows_path: str) -> dict[str, Any]:
    """Give the accuracy of a model on rows."""
    with open(rows_path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return {"accuracy": accuracy(model, rows)}


def _write(path: str, rows: Sequence[dict[str, str]]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def main(argv: Sequence[str]) -> None:
    """Do what the first word says."""
    verb, place, more = argv
    print(json.dumps(prepare(place, int(more)) if verb == "prepare" else measure(place, more)))


if __name__ == "__main__":
    main(sys.argv[1:])
