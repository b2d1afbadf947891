"""The demonstration's task, made on the spot: a tiny model, a small data set, and answers that can be checked.

A prompt is a word of random letters; the answer is the same letters in alphabetical order. Nothing is downloaded, the
rows held out share no word with the rows trained on, and what guessing would score is computed, not assumed.
"""

from __future__ import annotations

import math
import os
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

LETTERS = "abcdefgh"
WORD_LENGTHS = (3, 4)
PROMPT_END = " >"
TRAIN_ROWS = 2000
BATCH_ROWS = 64
MAX_ANSWER_TOKENS = 8


def make_rows(seed: int, n: int, held_out: int = 200) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Make `n` rows to train on and `held_out` others; no word is in both. Raises `ValueError` if there are too few."""
    words = _all_words()
    if n + held_out > len(words):
        raise ValueError(f"There are {len(words)} words; {n} + {held_out} rows can't all differ")
    chosen = random.Random(seed).sample(words, n + held_out)  # noqa: S311 - a data set, no secret
    rows = [_row(word) for word in chosen]
    return rows[:n], rows[n:]


def make_config(model_folder: str, seed: int, max_steps: int = 500) -> dict[str, Any]:
    """Give the config of a fine-tuning job that learns the task, in half a minute on one core."""
    return {
        "model": {"name": model_folder},
        "eval_split": 0.05,
        "training": {
            "method": "sft",
            "use_lora": False,
            "max_steps": max_steps,
            "batch_size": BATCH_ROWS,
            "eval_batch_size": BATCH_ROWS,
            "learning_rate": 2e-3,
            "warmup_steps": 50,
            "weight_decay": 0.0,
            "max_length": 32,
            "logging_steps": 50,
            "eval_steps": 100,
            "save_steps": 100,
            "seed": seed,
        },
    }


def chance(rows: Iterable[dict[str, str]]) -> float:
    """Give the share of rows that blind guessing gets right.

    A guesser who knows that the answer is made of the prompt's letters picks one of their different orders.
    """
    shares = [1 / _orders(row["prompt"].removesuffix(PROMPT_END)) for row in rows]
    return sum(shares) / len(shares)


def make_model(folder: str, seed: int) -> None:
    """Make a tokenizer and an untrained causal language model of half a million weights, and save both in `folder`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    os.makedirs(folder, exist_ok=True)
    tokenizer = _tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def accuracy(model_folder: str, rows: Sequence[dict[str, str]]) -> float:
    """Give the share of rows whose answer the model gives exactly, decoding greedily."""
    from stoker.trainer.try_it import answer_all, load

    model, tokenizer = load(model_folder)
    right = 0
    for start in range(0, len(rows), BATCH_ROWS):
        batch = rows[start : start + BATCH_ROWS]
        answers = answer_all(model, tokenizer, [row["prompt"] for row in batch], MAX_ANSWER_TOKENS)
        right += sum(given.strip() == row["completion"].strip() for given, row in zip(answers, batch, strict=True))
    return right / len(rows)


def _all_words() -> list[str]:
    words = [""]
    found: list[str] = []
    for length in range(1, max(WORD_LENGTHS) + 1):
        words = [word + letter for word in words for letter in LETTERS]
        if length in WORD_LENGTHS:
            found += words
    return found


def _row(word: str) -> dict[str, str]:
    return {"prompt": word + PROMPT_END, "completion": " " + "".join(sorted(word))}


def _orders(word: str) -> int:
    """Count the different orders of a word's letters: n! over the factorials of the repetitions."""
    return math.factorial(len(word)) // math.prod(math.factorial(times) for times in Counter(word).values())


def _tokenizer() -> Any:
    """Make a tokenizer with one token per character."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<bos>", "<eos>", "<unk>"]
    vocabulary = {token: number for number, token in enumerate([*special, *sorted(set(LETTERS + PROMPT_END + " "))])}
    bare = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))  # noqa: S106 - a token of text
    bare.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    bare.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=bare,
        **dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), special, strict=True)),
    )
