"""What a failure is called, and in which words."""

import errno

import pytest
import torch

from stoker.domain.failure import Reason
from stoker.trainer.arguments import FIXED, TRL_NAMES, trl_arguments
from stoker.trainer.callback import LossIsNan
from stoker.trainer.device import choose_device
from stoker.trainer.diagnose import Failure, diagnose
from stoker.trainer.rows import BadRow


@pytest.mark.parametrize(
    ("error", "reason", "words"),
    [
        (MemoryError(), Reason.OUT_OF_MEMORY, "The host ran out of memory"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: 4 GB"),
            Reason.OUT_OF_MEMORY,
            "The host ran out of memory",
        ),
        (torch.OutOfMemoryError("CUDA out of memory."), Reason.GPU_OUT_OF_MEMORY, "The GPU ran out of memory"),
        (RuntimeError("CUDA error: out of memory"), Reason.GPU_OUT_OF_MEMORY, "Lower batch_size"),
        (OSError(errno.ENOSPC, "No space", "/jobs/x"), Reason.DISK_FULL, "The disk is full while writing /jobs/x"),
        (OSError(errno.EDQUOT, "Quota"), Reason.DISK_FULL, "The disk is full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), Reason.DISK_FULL, "then resume"),
        (BadRow(7, "`text` is empty"), Reason.BAD_DATA, "Row 7: `text` is empty"),
        (LossIsNan("The loss is no number", Reason.NAN), Reason.NAN, "The loss is no number"),
        (ModuleNotFoundError("No module named 'x'", name="x"), None, "lacks the module 'x'"),
        (ImportError("cannot import name 'y'"), None, "A training package can't be imported: cannot import name 'y'"),
        (OSError("m is not a local folder and is not a valid model identifier\nlisted"), None, "Check the name"),
        (Failure("Known.", Reason.NAN), Reason.NAN, "Known."),
        (KeyError(), None, "Training failed with KeyError: no message"),
        (ValueError("x" * 5000), None, "Training failed with ValueError: xxx"),
    ],
)
def test_a_failure_has_a_class_and_one_sentence(error, reason, words):
    found, sentence = diagnose(error)

    assert found is reason
    assert words in sentence
    assert len(sentence) < 900
    assert "\n" not in sentence


def led_to(error, later, **how):
    """Give `later` as it is after it was raised while `error` was handled."""
    try:
        try:
            raise error
        except type(error):
            if how:
                raise later from error
            raise later from None
    except type(later) as raised:
        return raised


def test_a_full_disk_is_found_behind_what_it_led_to():
    assert diagnose(led_to(OSError(errno.ENOSPC, "No space"), RuntimeError("could not save")))[0] is Reason.DISK_FULL


def test_an_import_that_failed_on_the_way_is_not_the_cause():
    missing = ModuleNotFoundError("No module named 'flash_attn'", name="flash_attn")

    assert "target modules" in diagnose(led_to(missing, ValueError("target modules not found"), linked=True))[1]


def test_every_word_of_the_table_reaches_the_library_once():
    training = dict.fromkeys(TRL_NAMES, 1) | {"group_by_length": False, "seed": None}
    known = {*TRL_NAMES.values(), *FIXED, "output_dir"}
    made = trl_arguments(training, {"output_dir": "x", "max_steps": 9}, known)

    assert set(made) == known - {"seed"}
    assert made["max_steps"] == 9
    assert made["train_sampling_strategy"] == "random"
    assert len(set(TRL_NAMES.values())) == len(TRL_NAMES)


def test_an_older_library_gets_its_own_names_and_a_strange_one_is_refused():
    known = {*TRL_NAMES.values(), *FIXED, "gradient_checkpointing"} - {"activation_checkpointing"}

    assert trl_arguments({"gradient_checkpointing": True}, {}, known)["gradient_checkpointing"] is True

    with pytest.raises(ValueError, match="does not know 'activation_checkpointing'"):
        trl_arguments({"gradient_checkpointing": True}, {}, known - {"gradient_checkpointing"})


def test_the_cpu_computes_in_float32_whatever_was_wished_for():
    device = choose_device({"torch_dtype": "float16", "device_map": "cpu"}, {"bf16": True, "use_lora": True})

    assert (device.name, device.weights, device.bf16, device.fp16) == ("cpu", torch.float32, False, False)
    assert "on the CPU" in str(device)


@pytest.mark.parametrize(
    ("model", "training", "expected"),
    [
        ({}, {"use_lora": True}, (torch.bfloat16, True, False)),
        ({}, {"use_lora": False}, (torch.float32, True, False)),
        ({"torch_dtype": "bfloat16"}, {"use_lora": False}, (torch.bfloat16, True, False)),
        ({"torch_dtype": "float16"}, {"use_lora": False, "fp16": True}, (torch.float32, False, True)),
        ({"torch_dtype": "float16"}, {"use_lora": True, "fp16": True}, (torch.float16, False, True)),
        ({}, {"use_lora": True, "bf16": False}, (torch.float32, False, False)),
    ],
)
def test_a_gpu_computes_in_what_it_can_and_what_was_wished_for(monkeypatch, model, training, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    device = choose_device(model, training)

    assert device.name == "cuda"
    assert (device.weights, device.bf16, device.fp16) == expected
