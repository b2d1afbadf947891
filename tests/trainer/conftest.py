"""What the trainer's tests share: tiny models made on the spot, rows, and processes that are surely ended."""

import json
import os
import random
from pathlib import Path

import pytest

from stoker.trainer import demo_task
from tests.trainer.given_trainer import SEVEN, Job


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """An untrained model of a third of a million weights, with dropout."""
    folder = str(tmp_path_factory.mktemp("tiny"))
    demo_task.make_model(folder, seed=0)
    path = os.path.join(folder, "config.json")
    with open(path) as file:
        config = json.load(file)
    with open(path, "w") as file:
        json.dump(config | {"attention_dropout": 0.1}, file)
    return folder


@pytest.fixture
def word_model(tmp_path, real_rows):
    """An untrained model of half a million weights whose tokenizer was made of the real rows."""
    from tokenizers import ByteLevelBPETokenizer  # noqa: PLC0415 - the other tests need no torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast  # noqa: PLC0415

    bare = ByteLevelBPETokenizer()
    texts = (row["prompt"] + row["completion"] for row in real_rows)
    bare.train_from_iterator(texts, vocab_size=1000, special_tokens=["<eos>"], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare._tokenizer, eos_token="<eos>", pad_token="<eos>")
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=512, tie_word_embeddings=True, initializer_range=0.1,
    )  # fmt: skip
    folder = str(tmp_path / "words")
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def make_job(tmp_path, tiny_model):
    """Make a job: `make_job("name", use_lora=False, …)`, with rows of its own task unless others are given."""

    def make(name="job", rows=None, model=tiny_model, config=None, **training):
        chosen = demo_task.make_rows(1, 40, held_out=0)[0] if rows is None else rows
        return Job(tmp_path / name, model, chosen, {"training": {**SEVEN, **training}, **(config or {})})

    return make


@pytest.fixture
def process():
    """Processes that are surely gone when the test is over: `process(job.start())`."""
    started = []

    def keep(pair):
        started.append(pair[0])
        return pair

    yield keep
    for one in started:
        if one.poll() is None:
            one.kill()
        one.wait(10)


@pytest.fixture
def real_rows():
    """A few hundred rows of the real data set where it is there, else word problems made on the spot."""
    root = Path(os.environ.get("STOKER_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    path = root / "gsm8k" / "prompt_completion_train.jsonl"
    if path.is_file():
        with path.open() as file:
            return [json.loads(line) for _, line in zip(range(300), file, strict=False)]
    draw = random.Random(0)
    pairs = [(draw.randrange(2, 99), draw.randrange(2, 99)) for _ in range(300)]
    return [
        {
            "prompt": f"Ann has {a} pens and Bo {b}. How many are there?\n",
            "completion": f"{a}+{b}={a + b}\n#### {a + b}",
        }
        for a, b in pairs
    ]
