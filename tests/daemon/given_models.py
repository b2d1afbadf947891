"""Models for a real server's jobs, built from nothing in a process of their own: the tests never import torch."""

import json
import os
import subprocess
import sys
from pathlib import Path

BUILD_WORDY = """
import json, sys
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
folder, rows, dropout = sys.argv[1], sys.argv[2], float(sys.argv[3])
texts = [row["prompt"] + row["completion"] for row in map(json.loads, open(rows))]
bare = Tokenizer(models.BPE(unk_token="<unk>"))
bare.pre_tokenizer, bare.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
special = ["<pad>", "<bos>", "<eos>", "<unk>"]
bare.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=1000, special_tokens=special, show_progress=False))
tokens = dict(pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>")
tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, **tokens)
torch.manual_seed(1)
config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=128, intermediate_size=256, initializer_range=0.06,
    num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=512,
    attention_dropout=dropout,
    pad_token_id=0, bos_token_id=1, eos_token_id=2)
LlamaForCausalLM(config).save_pretrained(folder)
tokenizer.save_pretrained(folder)
"""

LOAD_ADAPTER = """
import json, sys
from peft import PeftModel
from transformers import AutoModelForCausalLM
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(sys.argv[1]), sys.argv[2])
moved = sum(float(p.abs().sum()) > 0 for name, p in model.named_parameters() if "lora_B" in name)
print(json.dumps({"adapters": list(model.peft_config), "moved": moved}))
"""


def real_rows(data: str, count: int, path: Path) -> str:
    """Take rows of the real data set, or make rows of that form where it is not there; give the path of the file."""
    source = Path(data) / "gsm8k" / "prompt_completion_train.jsonl"
    if source.exists():
        lines = source.read_text().splitlines()[:count]
    else:
        made = ((n, 2 * n + 1) for n in range(count))
        lines = [
            json.dumps({"prompt": f"What is {a} and {b}?\n", "completion": f"{a}+{b}={a + b}\n#### {a + b}"})
            for a, b in made
        ]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def build_model(folder: Path, rows: str, dropout: float = 0.0) -> str:
    """Train a tokenizer on the rows and save it with a tiny untrained model; give the folder."""
    _run(BUILD_WORDY, str(folder), rows, str(dropout))
    return str(folder)


def load_adapter(model: str, adapter: str) -> dict:
    """Load an adapter with PEFT; tell its names and how many of its matrices training has moved."""
    return json.loads(_run(LOAD_ADAPTER, model, adapter).splitlines()[-1])


def _run(code: str, *arguments: str) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    return done.stdout
