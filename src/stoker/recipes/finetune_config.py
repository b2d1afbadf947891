"""The parameters of a fine-tuning job, in the words of the original system: types, bounds and defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)

Positive = Annotated[int, Field(gt=0, le=2**31)]
Share = Annotated[float, Field(ge=0, lt=1)]
Name = Annotated[str, Field(min_length=1, max_length=4096)]

OPTIMIZERS = ("adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop")
SCHEDULES = (
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """Which model is trained."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: Name
    """A folder on the server's machine (an absolute path), or a name on the Hugging Face Hub."""
    revision: Name | None = None
    """Branch, tag or commit on the Hub."""
    torch_dtype: Literal["auto", "float32", "bfloat16", "float16", "fp32", "bf16", "fp16"] = "auto"
    """The type of the weights in GPU memory. On a CPU it is always float32."""
    device_map: Literal["auto", "cpu"] | None = "auto"
    """`cpu` keeps the job off the GPU."""
    trust_remote_code: Literal[False] = False
    """Code that comes with a model is never run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokenizer:
    """Which tokenizer is used; the model's own by default."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: Name | None = None
    """A folder on the server's machine, or a name on the Hub."""
    padding_side: Literal["left", "right"] | None = None
    """Where padding goes; the tokenizer's own choice by default."""
    trust_remote_code: Literal[False] = False
    """Code that comes with a tokenizer is never run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """Which rows are trained on."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    dataset_path: Name | None = None
    """The data set's file: JSON Lines, a JSON array or {"examples": […]}, plain or gzip."""
    max_samples: Positive | None = None
    """Use only the first so many rows."""
    train_split: Annotated[float, Field(gt=0, le=1)] | None = None
    """The share of the rows to train on; the rest is for evaluation."""
    eval_split: Share | None = None
    """The share of the rows, taken from the end, that is kept for evaluation."""
    strategy: Annotated[str, Field(max_length=100)] | None = None
    """A label. The form of the data is seen from its rows."""
    dataset_format: Annotated[str, Field(max_length=100)] | None = None
    """A label. The form of the data is seen from its rows."""
    generation_type: Annotated[str, Field(max_length=100)] | None = None
    """A label."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lora:
    """The adapter of a LoRA training. `alpha` and `dropout` are other words for `lora_alpha` and `lora_dropout`."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    r: Annotated[int, Field(gt=0, le=4096)] = 16
    """The rank."""
    lora_alpha: Annotated[float, Field(gt=0)] | None = None
    """The scale; 32 by default."""
    alpha: Annotated[float, Field(gt=0)] | None = None
    """The same as lora_alpha."""
    lora_dropout: Share | None = None
    """Dropout before the adapter; 0.1 by default."""
    dropout: Share | None = None
    """The same as lora_dropout."""
    target_modules: Annotated[list[Name], Field(min_length=1)] | Name = "all-linear"
    """Names of the modules that get an adapter, or `all-linear`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantization:
    """Loading the model in fewer bits; not available yet, so both must be off."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    load_in_4bit: bool = False
    """Must be off."""
    load_in_8bit: bool = False
    """Must be off."""
    bnb_4bit_quant_type: str | None = None
    """Without effect while loading in 4 bits is off."""
    bnb_4bit_use_double_quant: bool | None = None
    """Without effect while loading in 4 bits is off."""
    bnb_4bit_compute_dtype: str | None = None
    """Without effect while loading in 4 bits is off."""
    llm_int8_threshold: float | None = None
    """Without effect while loading in 8 bits is off."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """How the model is trained."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    method: Annotated[str, Field(max_length=100)] = "sft"
    """`sft`, supervised fine-tuning."""
    num_epochs: Annotated[float, Field(gt=0, le=100_000)] = 3.0
    """Passes over the data; may be a fraction."""
    max_steps: Annotated[int, Field(ge=-1, le=2**31)] | None = None
    """End after so many steps, whatever num_epochs says; -1 for no such end."""
    batch_size: Positive = 4
    """Rows per device and forward pass."""
    eval_batch_size: Positive = 4
    """Rows per device and forward pass in an evaluation."""
    gradient_accumulation_steps: Positive = 1
    """Forward passes per step."""
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 5e-5
    """The highest learning rate."""
    warmup_steps: Annotated[int, Field(ge=0, le=2**31)] | None = None
    """Steps to reach the highest learning rate; by default 100, at most a tenth of all."""
    warmup_ratio: Share | None = None
    """The same as a share of all steps."""
    lr_scheduler_type: Literal[SCHEDULES] = "cosine"  # type: ignore[valid-type]
    """How the learning rate goes down."""
    optim: Literal[OPTIMIZERS] = "adamw_torch"  # type: ignore[valid-type]
    """The optimiser."""
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.01
    """Decay of the weights."""
    adam_beta1: Share = 0.9
    """First decay of AdamW."""
    adam_beta2: Share = 0.999
    """Second decay of AdamW."""
    adam_epsilon: Annotated[float, Field(gt=0, lt=1)] = 1e-8
    """Epsilon of AdamW."""
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    """Gradients are clipped to this norm; 0 for no clipping."""
    bf16: bool | None = None
    """Compute in bfloat16; by default on a GPU that can. Never on a CPU."""
    fp16: bool | None = None
    """Compute in float16. Never on a CPU."""
    gradient_checkpointing: bool = False
    """Compute activations again instead of keeping them: less memory, more time."""
    logging_steps: Positive = 10
    """Steps between log lines. Progress and loss are reported at every step all the same."""
    save_strategy: Literal["steps", "epoch", "no"] = "steps"
    """When checkpoints are saved; one is saved on a stop in any case."""
    save_steps: Positive = 500
    """Steps between checkpoints."""
    save_total_limit: Annotated[int, Field(ge=0)] | None = 3
    """How many checkpoints stay; 0 for all. The best and the newest always stay."""
    evaluation_strategy: Literal["steps", "epoch", "no"] = "steps"
    """When the model is evaluated."""
    eval_steps: Positive = 50
    """Steps between evaluations."""
    packing: bool = False
    """Put several short rows into one sequence."""
    max_length: Annotated[int, Field(gt=0, le=2**24)] = 2048
    """Longer rows are cut to so many tokens."""
    assistant_only_loss: bool = False
    """Learn from the assistant's turns of `messages` alone; needs a chat template that marks them."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """The same seed gives the same run."""
    cpu_threads: Annotated[int, Field(gt=0, le=1024)] | None = None
    """Threads of the numerical libraries; chosen and recorded if left out, because a resume needs the same number."""
    stop_on_nan: bool = True
    """Fail the job when the loss is no number any more."""
    use_lora: bool = True
    """Train an adapter instead of all weights."""
    lora_config: Lora | None = None
    """The adapter."""
    dataloader_num_workers: Annotated[int, Field(ge=0, le=256)] = 0
    """Processes that prepare batches."""
    dataloader_prefetch_factor: Positive | None = None
    """Batches that each of them prepares ahead."""
    dataloader_pin_memory: bool = True
    """Use page-locked memory for batches; without effect on a CPU."""
    group_by_length: bool = False
    """Put rows of like length into a batch."""
    pretokenize: bool = True
    """Rows are always tokenised before the first step."""
    use_streaming: Literal[False] = False
    """Rows are never streamed, so that a resume is exact."""
    load_in_4bit: bool = False
    """Must be off."""
    load_in_8bit: bool = False
    """Must be off."""
    metric_for_best_model: Literal["eval_loss"] | None = None
    """The best checkpoint is the one with the lowest evaluation loss."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """What is kept."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    save_total_limit: Annotated[int, Field(ge=0)] | None = None
    """The same as training.save_total_limit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tensorboard:
    """TensorBoard files; not available yet, so `enabled` must be off."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    enabled: bool = False
    """Must be off."""
    log_dir: str | None = None
    """Without effect while it is off."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """Sample answers during training; not available yet, so `enabled` must be off."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    enabled: bool = False
    """Must be off."""
    sample_count: int | None = None
    """Without effect while it is off."""
    sample_frequency: str | None = None
    """Without effect while it is off."""
    step_interval: int | None = None
    """Without effect while it is off."""
    samples_path: str | None = None
    """Without effect while it is off."""
    validators: dict[str, Any] | None = None
    """Without effect while it is off."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointResume:
    """The same as `resume_from_checkpoint` with a switch, as some front ends send it."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    enabled: bool = True
    """Off: start from the beginning."""
    checkpoint_path: Name | None = None
    """The same as resume_from_checkpoint."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneConfig:
    """A fine-tuning job: `model.name` is all that must be given."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    model: Model
    """Which model is trained."""
    training: Training = field(default_factory=Training)
    """How it is trained."""
    data: Data = field(default_factory=Data)
    """Which rows it is trained on."""
    tokenizer: Tokenizer = field(default_factory=Tokenizer)
    """Which tokenizer is used."""
    lora: Lora | None = None
    """The same as training.lora_config."""
    quantization: Quantization = field(default_factory=Quantization)
    """Must be off."""
    output: Output = field(default_factory=Output)
    """What is kept."""
    eval_split: Share | None = None
    """The share of the rows, taken from the end, that is kept for evaluation; 0.2 by default."""
    dataset_path: Name | None = None
    """The same as the request's dataset_path."""
    resume_from_checkpoint: Name | None = None
    """A complete checkpoint from which the training goes on exactly."""
    checkpoint_resume: CheckpointResume | None = None
    """The same in other words."""
    tensorboard: Tensorboard | None = None
    """Must be off."""
    predictions: Predictions | None = None
    """Must be off."""
    execution_id: Annotated[str, Field(max_length=128)] | None = None
    """A label; the job's id is the request's."""
