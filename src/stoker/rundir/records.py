"""The records of an attempt, as written and as read back. Unknown fields of a newer writer are passed over."""

from __future__ import annotations

import binascii
import json
from dataclasses import asdict, field, fields

from stoker.domain.limits import Limits
from stoker.domain.values import value
from stoker.rundir.durable import MAX_DEPTH, parse_object, read_object, read_regular
from stoker.rundir.identity import ProcessId
from stoker.rundir.layout import PROTOCOL

TYPE_CHECKING = False  # typing itself would cost each supervisor a megabyte
if TYPE_CHECKING:
    from typing import Any, TypeVar

    T = TypeVar("T")


@value(frozen=True, kw_only=True, slots=True)
class Order:
    """What the server wants done: everything that the supervisor must know to live without the server.

    `env` holds no secret; `secrets_file` names a file of mode 0600 with a JSON object of more variables.
    `can_save` says that the trainer answers a stop request with a checkpoint once it has reported.
    `reports` says that the first report makes it running; else it is running from its exec.
    `progress_files` are watched for the original's progress protocol.
    `containment` is auto, cgroup or sweep.
    """

    attempt_id: str
    job_id: str
    number: int
    nonce: str
    home_id: str
    epoch: int
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    secrets_file: str | None = None
    cwd: str | None = None
    gpus: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    reports: bool = False
    can_save: bool = False
    progress_files: tuple[str, ...] = ()
    containment: str = "auto"
    log_bytes: int = 1 << 30
    segment_bytes: int = 8 << 20
    py_spy: str | None = None
    protocol: int = PROTOCOL


@value(frozen=True, kw_only=True, slots=True)
class ProcessRecord:
    """A process that was started: supervisor.json and trainer.json, with the control groups that were made for it."""

    boot: str
    pid: int
    start: int
    nonce: str
    cgroup: str | None = None
    memory_group: str | None = None
    protocol: int = PROTOCOL

    @property
    def who(self) -> ProcessId:
        """The identity to signal it by."""
        return ProcessId(self.boot, self.pid, self.start)


@value(frozen=True, kw_only=True, slots=True)
class StopRecord:
    """The server's stop request: the kind is a `StopKind`; a lower epoch than the fence's is refused."""

    kind: str
    who: str
    why: str
    at: float
    epoch: int


@value(frozen=True, kw_only=True, slots=True)
class Survivor:
    """A process that would not die: named, so that its GPUs can be withheld and a person can look."""

    pid: int
    start: int
    name: str
    state: str


@value(frozen=True, kw_only=True, slots=True)
class ExitRecord:
    """How an attempt ended. `at` is seconds since 1970 UTC, `milliseconds` the time from the end of the main
    process to the empty tree. `outcome` is the trainer's own outcome.json as it was found, unchecked.
    """

    nonce: str
    at: float
    exit_code: int | None = None
    signal: int | None = None
    executed: bool = False
    reported: bool = False
    stop: str | None = None
    stop_sent: bool = False
    stop_step: str | None = None
    stop_limit: float = 0.0
    launch_error: str | None = None
    out_of_memory: bool = False
    survivors: tuple[Survivor, ...] = ()
    outcome: dict[str, Any] = field(default_factory=dict)
    phase: str = ""
    log_bytes: int = 0
    milliseconds: float = 0.0
    protocol: int = PROTOCOL


def encode(record: Any) -> bytes:
    """Give a record as one line of JSON."""
    return json.dumps(asdict(record), separators=(",", ":")).encode() + b"\n"


def encode_sealed(record: Any) -> bytes:
    """Give a record as a line of JSON and a line with its CRC-32, so that a torn file can be told."""
    body = encode(record)
    return body + b"%08x\n" % binascii.crc32(body)


def read_order(path: str) -> Order | None:
    """Read an order; None if there is none that is whole."""
    data = read_object(path, 16 << 20)
    if data is None:
        return None
    limits = data.pop("limits", None)
    order = _decode(Order, data)
    return None if order is None else _with(order, limits=_decode(Limits, limits) or Limits())


def read_process(path: str) -> ProcessRecord | None:
    """Read supervisor.json or trainer.json; None if there is none that is whole."""
    return _decode(ProcessRecord, read_object(path))


def read_stop(path: str) -> StopRecord | None:
    """Read a stop request; None if there is none that is whole."""
    return _decode(StopRecord, read_object(path))


def read_exit(path: str) -> ExitRecord | None:
    """Read an exit record; None if there is none whose checksum is right."""
    data = read_regular(path)
    if data is None:
        return None
    body, _, seal = data.partition(b"\n")
    body += b"\n"
    if seal.strip() != b"%08x" % binascii.crc32(body):
        return None
    fields_found = parse_object(body, MAX_DEPTH + 1) or {}  # the trainer's outcome lies one level down
    survivors = fields_found.pop("survivors", None)
    named = [_decode(Survivor, one) for one in survivors] if isinstance(survivors, list) else []
    record = _decode(ExitRecord, fields_found)
    return None if record is None else _with(record, survivors=tuple(one for one in named if one is not None))


def _decode(kind: type[T], data: object) -> T | None:
    if not isinstance(data, dict):
        return None
    names = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    known = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items() if key in names}
    try:
        return kind(**known)
    except TypeError:
        return None


def _with(record: T, **changes: object) -> T:
    values = {f.name: getattr(record, f.name) for f in fields(record)}  # type: ignore[arg-type]
    return type(record)(**(values | changes))
