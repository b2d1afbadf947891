"""From an exception to its class and one sentence that says what happened and what to do."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator

from stoker.domain.failure import Reason
from stoker.trainer.rows import BadRow

MAX_SENTENCE = 600
_DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT})
_DISK_WORDS = ("no space left on device", "disk quota exceeded", "os error 28", "pytorchstreamwriter failed writing")
_HOST_WORDS = ("defaultcpuallocator", "can't allocate memory", "cannot allocate memory", "unable to allocate")
_GPU_WORDS = ("cuda out of memory", "hip out of memory", "cuda error: out of memory", "cublas_status_alloc_failed")
_MISSING_WORDS = (
    "is not a local folder and is not a valid model identifier", "couldn't connect to", "can't load tokenizer",
    "can't load the model", "can't load the configuration", "we couldn't connect", "is not a valid model identifier",
    "cannot find the requested files", "local entry", "offline mode is enabled", "does not appear to have a file named",
    "repository not found", "failed to resolve", "name resolution",
)  # fmt: skip


class Failure(Exception):
    """A failure that was understood where it happened. The text is a sentence with the remedy."""

    def __init__(self, text: str, reason: Reason | None = None) -> None:
        """Take the sentence and, where there is one, the class."""
        super().__init__(text)
        self.reason = reason


def diagnose(error: BaseException) -> tuple[Reason | None, str]:
    """Give the class of a failure, None for none in particular, and one sentence."""
    if (found := _known(error)) is not None:
        return found
    for one in _chain(error):  # an import that failed on the way may have been meant to, a full disk never
        if (found := _by_memory(one) or _by_disk(one)) is not None:
            return found
    return None, _shortened(f"Training failed with {type(error).__name__}: {_first_line(error)}")


def _known(error: BaseException) -> tuple[Reason | None, str] | None:
    match error:
        case Failure():
            return error.reason, _shortened(str(error))
        case BadRow():
            return Reason.BAD_DATA, _shortened(f"The data set can't be trained on. {error}")
        case ModuleNotFoundError():
            return None, (
                f"The interpreter {sys.executable} lacks the module '{error.name}'. "
                "Install the training packages there (pip install 'stoker[train]'), or name another with `python`"
            )
        case ImportError():
            return None, _shortened(f"A training package can't be imported: {_first_line(error)}")
    return _by_memory(error) or _by_disk(error) or _by_model(error)


def _by_memory(error: BaseException) -> tuple[Reason | None, str] | None:
    text = str(error).lower()
    if type(error).__name__ == "OutOfMemoryError" or any(words in text for words in _GPU_WORDS):
        return Reason.GPU_OUT_OF_MEMORY, (
            "The GPU ran out of memory. Lower batch_size (and raise gradient_accumulation_steps), lower max_length, "
            "or turn on gradient_checkpointing"
        )
    if isinstance(error, MemoryError) or any(words in text for words in _HOST_WORDS):
        return Reason.OUT_OF_MEMORY, (
            "The host ran out of memory. Lower batch_size or max_length, take a smaller model, or free memory"
        )
    return None


def _by_disk(error: BaseException) -> tuple[Reason | None, str] | None:
    full = isinstance(error, OSError) and error.errno in _DISK_ERRNOS
    if not full and not any(words in str(error).lower() for words in _DISK_WORDS):
        return None
    place = f" while writing {error.filename}" if isinstance(error, OSError) and error.filename else ""
    return Reason.DISK_FULL, (
        f"The disk is full{place}. Free space or lower save_total_limit, then resume from the last checkpoint"
    )


def _by_model(error: BaseException) -> tuple[Reason | None, str] | None:
    text = str(error).lower()
    if not any(words in text for words in _MISSING_WORDS):
        return None
    return None, _shortened(
        f"The model or its tokenizer could not be loaded: {_first_line(error)} "
        "Check the name, the network, and whether the model needs a token (HF_TOKEN among the job's secrets)"
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else "no message"


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_SENTENCE else f"{text[:MAX_SENTENCE]}…"
