"""Why a job failed: the reason as data, and the one sentence that people read."""

from __future__ import annotations

from enum import StrEnum

MINUTE = 60.0


class Reason(StrEnum):
    """The class of a failure."""

    EXITED = "exited"
    SIGNALLED = "signalled"
    STALLED = "stalled"
    TIMED_OUT = "timed_out"
    START_TIMEOUT = "start_timeout"
    OUT_OF_MEMORY = "out_of_memory"
    GPU_OUT_OF_MEMORY = "gpu_out_of_memory"
    NAN = "nan"
    DISK_FULL = "disk_full"
    BAD_DATA = "bad_data"
    LAUNCH_FAILED = "launch_failed"
    LOST = "lost"


SIGNAL_NAMES = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    10: "SIGUSR1",
    11: "SIGSEGV",
    12: "SIGUSR2",
    13: "SIGPIPE",
    14: "SIGALRM",
    15: "SIGTERM",
    24: "SIGXCPU",
    25: "SIGXFSZ",
    31: "SIGSYS",
}
"""Linux signal numbers; written out so that a record made elsewhere reads the same here."""


def signal_name(number: int) -> str:
    """Give the name of a signal, `signal N` where it has none."""
    return SIGNAL_NAMES.get(number, f"signal {number}")


def span(seconds: float) -> str:
    """Say a limit as people do: whole minutes from one minute on, seconds below it."""
    if seconds >= MINUTE:
        amount, unit = seconds / MINUTE, "minute"
    else:
        amount, unit = seconds, "second"
    number = f"{amount:.1f}".removesuffix(".0")
    return f"{number} {unit}{'' if number == '1' else 's'}"


def stalled_text(limit: float) -> str:
    """The sentence of a stall, worded as in the original system."""
    return f"Training timed out - no progress for {span(limit)}"


def exited_text(code: int) -> str:
    """The sentence of a main process that exited by itself with an error."""
    return f"The training process exited with code {code}"


def signalled_text(number: int) -> str:
    """The sentence of a main process that was killed by a signal nobody here sent."""
    return f"The training process was killed by {signal_name(number)} (signal {number}), which Stoker did not send"
