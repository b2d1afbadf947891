"""Tries a trained model: `python -m stoker.trainer.try_it MODEL_DIR "prompt"`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

DEFAULT_TOKENS = 64


def load(folder: str) -> tuple[Any, Any]:
    """Load a trained model, or an adapter on its base model, and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if os.path.exists(os.path.join(folder, "adapter_config.json")):
        from peft import AutoPeftModelForCausalLM

        model = AutoPeftModelForCausalLM.from_pretrained(folder)
    else:
        model = AutoModelForCausalLM.from_pretrained(folder)
    return model.eval(), tokenizer


def answer_all(model: Any, tokenizer: Any, prompts: Sequence[str], max_tokens: int = DEFAULT_TOKENS) -> list[str]:
    """Let the model go on from each prompt, greedily, up to its end token or `max_tokens`."""
    import torch

    inputs = tokenizer(list(prompts), return_tensors="pt", padding=True, return_token_type_ids=False)
    with torch.no_grad():
        made = model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    return tokenizer.batch_decode(made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)  # type: ignore[no-any-return]


def main(argv: list[str]) -> int:
    """Print the model's answer to each prompt."""
    if len(argv) < 2:  # noqa: PLR2004 - a folder and at least one prompt
        print('Usage: python -m stoker.trainer.try_it MODEL_DIR "prompt" ["prompt" …]', file=sys.stderr)  # noqa: T201
        return 2
    model, tokenizer = load(argv[0])
    for prompt, answer in zip(argv[1:], answer_all(model, tokenizer, argv[1:]), strict=True):
        print(f"{prompt}{answer}")  # noqa: T201 - this command's very purpose
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
