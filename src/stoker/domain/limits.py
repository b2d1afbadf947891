"""How long things may take: per phase, per step of a stop, and over all. Seconds throughout."""

from __future__ import annotations

from dataclasses import field, fields

from stoker.domain.progress import Phase
from stoker.domain.values import value

MINUTE = 60.0

PHASE_SECONDS: dict[Phase, float] = {
    Phase.LOADING: 60 * MINUTE,
    Phase.PREPARING: 60 * MINUTE,
    Phase.COMPILING: 30 * MINUTE,
    Phase.TRAINING: 10 * MINUTE,
    Phase.EVALUATING: 60 * MINUTE,
    Phase.SAVING: 30 * MINUTE,
}
"""The longest silence that each phase may have before it counts as a stall."""

CHECKPOINT_CEILING_SECONDS = 30 * MINUTE
"""A stop waits no longer than this for a checkpoint, however well the saving advances."""

UNKILLABLE_SECONDS = 60.0
"""How long after the kill an attempt waits for its tree to be gone before it ends as unclean."""


@value(frozen=True, kw_only=True, slots=True)
class Limits:
    """The limits of one job. `None` means: the default of the phase, or no limit at all for the wall time."""

    stall_seconds: float | None = None
    start_seconds: float | None = None
    time_limit_seconds: float | None = None
    checkpoint_seconds: float = 120.0
    grace_seconds: float = 30.0
    phase_seconds: dict[str, float] = field(default_factory=dict)

    def silence_allowed(self, phase: Phase) -> float:
        """Give the seconds without progress after which `phase` is stalled; an explicit limit caps every phase."""
        if self.stall_seconds is not None:
            return self.stall_seconds
        return self.phase_seconds.get(phase.value, PHASE_SECONDS[phase])


LIMIT_NAMES = tuple(f.name for f in fields(Limits) if f.name != "phase_seconds")
