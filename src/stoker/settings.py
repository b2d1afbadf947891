"""The server's settings: from flags first, then the environment, then defaults."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from stoker.domain.errors import HomeUnusable
from stoker.domain.limits import PHASE_SECONDS

DEFAULT_PORT = 8000
CONTAINMENTS = ("auto", "cgroup", "sweep")
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


def default_home(environment: Mapping[str, str] | None = None) -> Path:
    """Give the home that is used when none is named: STOKER_HOME, else a folder of the user's data."""
    environment = os.environ if environment is None else environment
    if named := environment.get("STOKER_HOME"):
        return Path(named).expanduser()
    data = environment.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "stoker"


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """All that a server can be told at its start.

    `runs` is where jobs' checkpoints and outputs go, by default within the home. `data_roots` are the folders that
    requests of keys may read data and models from. `allowed_hosts` are names beyond loopback under which the server
    may be addressed. `phase_seconds` are the stall limits of the phases, `feed_keep` the rows of the feed that stay.
    """

    home: Path
    runs: Path | None = None
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    slots: int = 1
    data_roots: tuple[Path, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    database: str | None = None
    containment: str = "auto"
    log_bytes: int = 1 << 30
    feed_keep: int = 200_000
    phase_seconds: Mapping[str, float] = field(default_factory=lambda: {p.value: s for p, s in PHASE_SECONDS.items()})

    @property
    def is_loopback(self) -> bool:
        """Whether the server can be reached from this machine only."""
        return self.host in LOOPBACK_HOSTS

    @property
    def jobs_root(self) -> Path:
        """Where the folders of jobs lie."""
        return (self.runs or self.home) / "jobs"

    @property
    def attempts_root(self) -> Path:
        """Where the records of attempts lie."""
        return self.home / "attempts"

    @property
    def socket(self) -> Path:
        """The server's own unix socket, for keyless use by its user."""
        return self.home / "server.sock"


def from_environment(environment: Mapping[str, str], **given: object) -> Settings:
    """Build the settings; what is given and not None wins over STOKER_* variables."""
    values: dict[str, object] = {"home": default_home(environment)}
    readers: dict[str, Callable[[str], object]] = {
        "runs": _path,
        "host": str,
        "port": int,
        "slots": int,
        "data_roots": _paths,
        "allowed_hosts": _names,
        "database": str,
        "containment": str,
        "log_bytes": int,
        "phase_seconds": _phases,
    }
    for name, read in readers.items():
        if text := environment.get(f"STOKER_{name.upper()}"):
            values[name] = _read(name, text, read)
    values |= {name: value for name, value in given.items() if value is not None}
    settings = Settings(**values)  # type: ignore[arg-type]
    _check(settings)
    runs = settings.runs
    return replace(settings, home=settings.home.absolute(), runs=None if runs is None else runs.absolute())


def _read(name: str, text: str, read: Callable[[str], object]) -> object:
    try:
        return read(text)
    except ValueError as error:
        raise HomeUnusable(f"STOKER_{name.upper()}={text!r} can't be understood: {error}") from error


def _check(settings: Settings) -> None:
    """Raise `HomeUnusable` for the first setting that is out of its range."""
    allowed = {
        "slots": (settings.slots >= 0, "0 or more jobs at a time"),
        "port": (0 <= settings.port < 1 << 16, "a port from 0 to 65535, where 0 takes any free one"),
        "log_bytes": (settings.log_bytes > 0, "a number of bytes above 0"),
        "containment": (settings.containment in CONTAINMENTS, f"one of {', '.join(CONTAINMENTS)}"),
    }
    for name, (is_allowed, wanted) in allowed.items():
        if not is_allowed:
            raise HomeUnusable(f"The setting {name} can't be {getattr(settings, name)!r}. Give {wanted}")


def _phases(text: str) -> dict[str, float]:
    """Read stall limits of phases as `training=600,loading=3600`; the others keep their defaults."""
    limits = {phase.value: seconds for phase, seconds in PHASE_SECONDS.items()}
    for part in _names(text):
        phase, _, seconds = part.partition("=")
        if phase not in limits:
            raise ValueError(f"{phase!r} is no phase. Known are {', '.join(limits)}")
        limits[phase] = float(seconds)
        if not 0 < limits[phase] < math.inf:
            raise ValueError(f"{seconds} is no time span. Give seconds above 0")
    return limits


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(_path(part) for part in text.split(os.pathsep) if part)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
