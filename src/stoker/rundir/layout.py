"""Where everything of a job and of an attempt lies."""

from __future__ import annotations

import os

from stoker.domain.values import value

PROTOCOL = 1
"""Version of the attempt directory and of the local socket. A reader refuses one that is newer than its own."""


def segment_name(first_byte: int, first_line: int) -> str:
    """Give the name of the segment of the log that begins at this byte and line."""
    return f"log.{first_byte:016}.{first_line:016}"


@value(frozen=True, slots=True)
class AttemptDir:
    """The records of one attempt (mode 0700). Only `run` is known to the trainer."""

    root: str

    def path(self, name: str) -> str:
        """Give the path of the record called `name`."""
        return os.path.join(self.root, name)

    @property
    def order(self) -> str:
        """What the server wants done, written before the supervisor starts."""
        return self.path("spec.json")

    @property
    def claim(self) -> str:
        """Created once and for ever by whoever decides the attempt: its supervisor, or the server that gave it up."""
        return self.path("claim")

    @property
    def lock(self) -> str:
        """Locked by the supervisor for its life: free means dead."""
        return self.path("lock")

    @property
    def supervisor(self) -> str:
        """The identity of the supervisor."""
        return self.path("supervisor.json")

    @property
    def trainer(self) -> str:
        """The identity of the main process, written before it is executed."""
        return self.path("trainer.json")

    @property
    def stop(self) -> str:
        """The stop request, written by the server."""
        return self.path("stop.json")

    @property
    def fence(self) -> str:
        """The epoch of the server that owns the attempt; the supervisor refuses a lower one."""
        return self.path("fence")

    @property
    def seen(self) -> str:
        """Every descendant that the supervisor has seen, so that survivors are found after its own death."""
        return self.path("seen")

    @property
    def journal(self) -> str:
        """What the supervisor did and saw, one JSON line each."""
        return self.path("journal.jsonl")

    @property
    def vitals(self) -> str:
        """What the supervisor sees now; rewritten in place, never synced."""
        return self.path("vitals")

    @property
    def exit(self) -> str:
        """The exit record. It exists if and only if the end is known and the tree is empty or the survivors named."""
        return self.path("exit.json")

    @property
    def exit_slot(self) -> str:
        """Disk space for the exit record, set aside at the start."""
        return self.path("exit.slot")

    @property
    def socket(self) -> str:
        """The supervisor's local socket."""
        return self.path("ctl.sock")

    @property
    def diagnostics(self) -> str:
        """The supervisor's own standard output and error."""
        return self.path("supervisor.log")

    @property
    def stacks(self) -> str:
        """Stacks of the job's processes, dumped before a stall is killed."""
        return self.path("stacks.txt")

    @property
    def run(self) -> str:
        """The run folder, the only path that the trainer is given (STOKER_RUN_DIR)."""
        return self.path("run")


@value(frozen=True, slots=True)
class RunDir:
    """The run folder: what the trainer and the supervisor tell each other. Nothing in it is trusted by its reader."""

    root: str

    def path(self, name: str) -> str:
        """Give the path of the file called `name`."""
        return os.path.join(self.root, name)

    @property
    def metrics(self) -> str:
        """What the trainer reports, one JSON line each, append-only."""
        return self.path("metrics.jsonl")

    @property
    def beat(self) -> str:
        """The heartbeat: eight bytes, seconds on CLOCK_BOOTTIME as a little-endian double."""
        return self.path("beat")

    @property
    def control(self) -> str:
        """What the supervisor asks of the trainer: a JSON object, replaced whole."""
        return self.path("control.json")

    @property
    def outcome(self) -> str:
        """What the trainer says of its own end."""
        return self.path("outcome.json")

    @property
    def progress(self) -> str:
        """The original's progress file, for trainers that write one."""
        return self.path("progress.json")

    @property
    def config(self) -> str:
        """The recipe's resolved parameters, for our own trainer."""
        return self.path("config.json")

    def stacks(self, pid: int) -> str:
        """Where process `pid` writes its Python stacks on SIGUSR1. The file's presence says that it will."""
        return self.path(f"stacks.{pid}")


@value(frozen=True, slots=True)
class JobDir:
    """What lasts of a job and is shared by its attempts."""

    root: str

    @property
    def inputs(self) -> str:
        """Data that came with the submit."""
        return os.path.join(self.root, "inputs")

    @property
    def checkpoints(self) -> str:
        """`checkpoint-N` folders; one counts only once its manifest verifies."""
        return os.path.join(self.root, "checkpoints")

    @property
    def outputs(self) -> str:
        """The trained model, and whatever else the job leaves."""
        return os.path.join(self.root, "outputs")

    @property
    def secrets(self) -> str:
        """Secret values by name, mode 0600; removed when the job ends."""
        return os.path.join(self.root, "secrets.json")
