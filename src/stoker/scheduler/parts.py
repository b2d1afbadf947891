"""What the parts of the scheduler share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stoker.engines.port import Engine
from stoker.scheduler.orders import Identity
from stoker.settings import Settings
from stoker.store.port import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """The store, the engine, the settings, this server's term, the monotonic clock and UTC seconds."""

    store: Store
    engine: Engine
    settings: Settings
    identity: Identity
    clock: Callable[[], float]
    now: Callable[[], float]
